//! How long does a training step take, and in what memory? The Rust side of `benches/peers/train_step.py`.
//!
//! A 6-layer, 384-wide BERT with random weights and 30,522 vocabulary entries; 16 queries and 32 documents of 128 tokens,
//! max pooling, in-batch negative log likelihood, FLOPS, AdamW. Prints one line of JSON: milliseconds of every step after
//! two that warm up, of its parts, processor time a step (which other programs disturb less), the losses, and the largest
//! resident set. RAYON_NUM_THREADS sets the threads.
//!
//! `cargo run --release -p tamis-encoder --example train_step -- [steps] [tokens] [queries] [documents]`
#![expect(clippy::print_stdout, reason = "the result of a program")]

use serde_json::json;
use std::time::Duration;
use tamis_encoder::probe::{ProbeSize, StepProbe};

const WARM_UP: usize = 2;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>());
    let arguments = arguments.collect::<Result<Vec<usize>, _>>()?;
    let argument = |at: usize, default: usize| arguments.get(at).copied().unwrap_or(default);
    let (steps, tokens) = (argument(0, 5), argument(1, 128));
    let size = ProbeSize {
        layers: 6,
        width: 384,
        inner: 1536,
        heads: 12,
        vocabulary: 30_522,
        positions: 512,
    };
    let mut state = 1u32;
    let mut texts = |count: usize| -> Vec<Vec<u32>> {
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % 30_522
        };
        (0..count).map(|_| (0..tokens).map(|_| next()).collect()).collect()
    };
    let (queries, documents) = (texts(argument(2, 16)), texts(argument(3, 32)));
    let mut probe = StepProbe::new(size)?;
    let mut times = Vec::new();
    let mut begin_ms = cpu_ms();
    for step in 0..WARM_UP + steps {
        if step == WARM_UP {
            begin_ms = cpu_ms();
        }
        times.push(probe.step(&queries, &documents)?);
    }
    let cpu_ms = cpu_ms()
        .zip(begin_ms)
        .map(|(end, begin)| (end - begin) / steps.max(1) as u64);
    let milliseconds = |duration: Duration| (duration.as_secs_f64() * 1e4).round() / 10.0;
    let measured = &times[WARM_UP..];
    let of = |part: &dyn Fn(&tamis_encoder::probe::StepTimes) -> Duration| -> Vec<f64> {
        measured.iter().map(|times| milliseconds(part(times))).collect()
    };
    let result = json!({
        "step_ms": of(&|times| times.forward + times.backward + times.optimiser),
        "forward_ms": of(&|times| times.forward),
        "backward_ms": of(&|times| times.backward),
        "optimiser_ms": of(&|times| times.optimiser),
        "cpu_ms": cpu_ms,
        "losses": times.iter().map(|times| times.loss).collect::<Vec<f32>>(),
        "threads": std::env::var("RAYON_NUM_THREADS").ok(),
        "kernels": tamis_kernels::active().to_string(),
        "peak_mb": peak_mb(),
    });
    println!("{result}");
    Ok(())
}

/// Time that processors spent on this process so far, the system's included, where the system tells.
fn cpu_ms() -> Option<u64> {
    const MS_PER_TICK: u64 = 10;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Behind the name in brackets: the 12th and 13th field, in hundredths of a second.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = [fields.get(11)?, fields.get(12)?].map(|field| field.parse::<u64>().ok());
    Some((ticks[0]? + ticks[1]?) * MS_PER_TICK)
}

/// The largest resident set of this process so far, where the system tells.
fn peak_mb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kilobytes / 1000)
}
