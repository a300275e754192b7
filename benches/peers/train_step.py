#!/usr/bin/env python3
"""The same training step in PyTorch and in Tamis, in interleaved rounds of one run.

    train_step.py [--rounds 3] [--steps 3] [--threads 1 2] [--tokens 128] [--record FILE.json] [--tamis PROGRAM]

The model is a BertForMaskedLM of 6 layers, 384 wide, 12 heads, inner width 1536, vocabulary 30,522, with random weights and
without dropout (which costs PyTorch more than Tamis). A step: 16 queries and 32 documents of --tokens random tokens each,
the largest logit over tokens first, which is the cheaper order, then log(1 + relu); scores of all pairs, cross entropy with each query's own document; FLOPS of
both sides times 1e-3; backward; AdamW on everything. The loss of both is that of a random model, so nearly all vocabulary
entries are in use: the worst case for a sparse backward pass; a trained model uses about one in a hundred.

A round runs each system once, in a process of its own: two steps to warm up, then --steps that are timed. Times are medians
over all rounds; processor time, the system's included, tells more where other programs run; memory is the largest resident set of the process.

    cargo build --release -p tamis-encoder --example train_step
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
QUERIES, DOCUMENTS, WARM_UP = 16, 32, 2


def pytorch(steps, threads, tokens):
    import torch
    from torch.nn.functional import cross_entropy
    from transformers import BertConfig, BertForMaskedLM

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )
    model = BertForMaskedLM(config).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-5, weight_decay=0.01)
    queries = torch.randint(0, config.vocab_size, (QUERIES, tokens))
    documents = torch.randint(0, config.vocab_size, (DOCUMENTS, tokens))
    own = torch.arange(QUERIES) * (DOCUMENTS // QUERIES)

    def represent(ids):
        return model(input_ids=ids).logits.amax(1).relu().log1p()

    times, losses = [], []
    for step in range(WARM_UP + steps):
        if step == WARM_UP:
            cpu = time.process_time()
        begin = time.perf_counter()
        q, d = represent(queries), represent(documents)
        flops = sum((x.mean(0) ** 2).sum() for x in (q, d))
        loss = cross_entropy(q @ d.T, own) + 1e-3 * flops
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        times.append((time.perf_counter() - begin) * 1e3)
        losses.append(loss.item())
    cpu = (time.process_time() - cpu) * 1e3 / steps
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000
    print(json.dumps({"step_ms": times[WARM_UP:], "cpu_ms": cpu, "losses": losses, "peak_mb": peak}))


def run(command, threads):
    environment = dict(os.environ, RAYON_NUM_THREADS=str(threads), OMP_NUM_THREADS=str(threads))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def processor():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]} x {len(names)}" if names else platform.processor()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--tamis", default=str(ROOT / "target/release/examples/train_step"))
    parser.add_argument("--record")
    parser.add_argument("--pytorch", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.pytorch:
        return pytorch(options.steps, options.pytorch, options.tokens)

    shape = [str(options.steps), str(options.tokens)]
    results = []
    for threads in options.threads:
        own = [sys.executable, __file__, "--pytorch", str(threads), "--steps", shape[0], "--tokens", shape[1]]
        commands = {"PyTorch": own, "Tamis": [options.tamis, *shape]}
        rounds = {system: [] for system in commands}
        load = os.getloadavg()[0]
        for _ in range(options.rounds):
            for system, command in commands.items():
                rounds[system].append(run(command, threads))
        for system, outcomes in rounds.items():
            times = [time for outcome in outcomes for time in outcome["step_ms"]]
            results.append({
                "system": system,
                "threads": threads,
                "median_ms": round(statistics.median(times), 1),
                "least_ms": round(min(times), 1),
                "cpu_ms": round(statistics.median(outcome["cpu_ms"] for outcome in outcomes), 1),
                "peak_mb": max(outcome["peak_mb"] for outcome in outcomes),
                "load_before": round(load, 1),
                "parts_ms": {
                    part: round(statistics.median(time for outcome in outcomes for time in outcome[part]), 1)
                    for part in ("forward_ms", "backward_ms", "optimiser_ms")
                    if part in outcomes[0]
                },
            })
    print(f"{'system':10} {'threads':>7} {'median ms':>10} {'least ms':>10} {'CPU ms':>8} {'peak MB':>8}")
    for result in results:
        print(f"{result['system']:10} {result['threads']:7} {result['median_ms']:10} {result['least_ms']:10} "
              f"{result['cpu_ms']:8} {result['peak_mb']:8}")
    if options.record:
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
        rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True)
        record = {
            "date": date.today().isoformat(),
            "processor": processor(),
            "commit": commit.stdout.strip(),
            "rustc": rustc.stdout.strip(),
            "torch": version("torch"),
            "transformers": version("transformers"),
            "queries": QUERIES,
            "documents": DOCUMENTS,
            "tokens": options.tokens,
            "results": results,
        }
        Path(options.record).parent.mkdir(parents=True, exist_ok=True)
        Path(options.record).write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
