//! Which rows come together, and that nothing but seed and step decides it.

use std::collections::{BTreeMap, HashSet};
use std::fs;

use super::*;
use crate::data::{DataOptions, TrainingData};

/// Data of `lines`, which are JSON.
fn data(lines: &[String]) -> TrainingData {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("rows.jsonl");
    fs::write(&path, lines.join("\n")).expect("writable");
    let options = DataOptions {
        files: vec![path],
        ..DataOptions::default()
    };
    TrainingData::read(&options, &mut |_| ()).expect("clean lines")
}

fn plain(num: usize) -> Vec<String> {
    let line = |at: usize| {
        let source = if at.is_multiple_of(3) { "a" } else { "b" };
        format!(
            "{{\"src\":\"{source}\",\"query\":\"q{at}\",\"title\":\"T{at}\",\"text\":\"{}\"}}",
            "word ".repeat(at % 7 + 1) + &at.to_string()
        )
    };
    (0..num).map(line).collect()
}

fn batcher(data: &TrainingData, options: &BatchOptions) -> Batcher {
    Batcher::new(data, &DataOptions::default(), options, false).expect("enough rows")
}

fn options(size: usize, negatives: usize) -> BatchOptions {
    BatchOptions {
        size,
        negatives,
        ..BatchOptions::default()
    }
}

#[test]
fn an_epoch_takes_every_row_once_and_any_step_can_be_asked_for() {
    let data = data(&plain(30));
    let options = BatchOptions {
        length_window: 2,
        ..options(5, 2)
    };
    let mut batcher = batcher(&data, &options);
    assert_eq!((batcher.num_batches(), batcher.num_rows()), (6, 30));
    let batches: Vec<Batch> = (0..12).map(|step| batcher.batch(&data, step)).collect();
    for epoch in batches.chunks(6) {
        let taken: HashSet<u32> = epoch.iter().flat_map(|batch| batch.pairs.clone()).collect();
        assert_eq!(taken.len(), 30);
    }
    assert_ne!(batches[0].pairs, batches[6].pairs, "every epoch has its own order");
    let mut again = Batcher::new(&data, &DataOptions::default(), &options, false).expect("enough");
    for step in [7, 0, 11, 3] {
        assert_eq!(
            again.batch(&data, step),
            batches[usize::try_from(step).expect("small")],
            "step {step}"
        );
    }
    for batch in &batches {
        assert_eq!((batch.documents.len(), batch.scores.len()), (15, 15));
        for (own, group) in batch.pairs.iter().zip(batch.documents.chunks(3)) {
            assert_eq!(group[0], data.set().pairs()[*own as usize].positive);
            assert_eq!(group.iter().collect::<HashSet<_>>().len(), 3, "negatives differ");
        }
    }
    let kept = batches
        .iter()
        .flat_map(|batch| &batch.with_titles)
        .filter(|kept| **kept)
        .count();
    assert!((15..45).contains(&kept), "{kept} of 60 keep their titles");
    let other = BatchOptions { seed: 1, ..options };
    assert_ne!(self::batcher(&data, &other).batch(&data, 0), batches[0]);
}

#[test]
fn titles_are_kept_by_row() {
    let data = data(&plain(8));
    for (share, kept) in [(0.0, false), (1.0, true)] {
        let options = BatchOptions {
            title_share: share,
            ..options(4, 1)
        };
        let batch = batcher(&data, &options).batch(&data, 0);
        assert_eq!(batch.texts(&data).iter().all(|text| text.starts_with('T')), kept);
        assert_eq!(batch.texts(&data).iter().any(|text| text.starts_with('T')), kept);
    }
}

#[test]
fn alike_rows_keep_apart_or_are_excluded() {
    // Three questions share a passage, two rows share a question.
    let mut lines: Vec<String> = (0..3)
        .map(|at| format!("{{\"query\":\"s{at}\",\"text\":\"shared\"}}"))
        .collect();
    lines.extend((0..2).map(|at| format!("{{\"query\":\"same\",\"text\":\"answer {at}\"}}")));
    lines.extend(plain(15));
    let data = data(&lines);
    let mut by_four = batcher(&data, &options(4, 0));
    for step in 0..20 {
        let batch = by_four.batch(&data, step);
        // Only the last batch of an epoch may have nothing else to take.
        assert!(batch.excluded.is_empty() || step % 5 == 4, "step {step}: {batch:?}");
    }
    // In a batch of all rows they cannot keep apart.
    let batch = batcher(&data, &options(20, 0)).batch(&data, 0);
    assert_eq!(batch.pairs.iter().collect::<HashSet<_>>().len(), 20);
    let place = |query: &str| {
        let queries = batch.queries(&data);
        (0..20_u32)
            .filter(|&at| queries[at as usize] == query)
            .collect::<Vec<_>>()
    };
    let mut expected = Vec::new();
    let shared = [place("s0")[0], place("s1")[0], place("s2")[0]];
    for alike in [&shared[..], &place("same")] {
        for query in alike {
            expected.extend(alike.iter().filter(|at| *at != query).map(|at| (*query, *at)));
        }
    }
    expected.sort_unstable();
    assert_eq!(batch.excluded, expected);
}

#[test]
fn weights_and_sources_are_kept_to() {
    let data = data(&plain(30));
    let weights = DataOptions {
        source_weights: BTreeMap::from([("a".to_owned(), 2.5), ("b".to_owned(), 0.25)]),
        ..DataOptions::default()
    };
    let one_source = BatchOptions {
        one_source: true,
        ..options(5, 0)
    };
    let mut batcher = Batcher::new(&data, &weights, &one_source, false).expect("enough rows");
    assert_eq!((batcher.num_rows(), batcher.num_batches()), (25 + 5, 6));
    let source = |pair: &u32| data.set().pairs()[*pair as usize].source.clone();
    let mut of_a = vec![0; 30];
    for step in 0..6 {
        let batch = batcher.batch(&data, step);
        let sources: HashSet<String> = batch.pairs.iter().map(source).collect();
        assert_eq!(sources.len(), 1);
        batch.pairs.iter().for_each(|&pair| of_a[pair as usize] += 1);
    }
    assert!((0..30).step_by(3).all(|pair| (2..=3).contains(&of_a[pair])), "{of_a:?}");
    assert_eq!(of_a.iter().sum::<i32>(), 30);
}

#[test]
fn clusters_hold_the_rows_that_candidates_answer() {
    // Row n of the first eight has the passages of the other seven as candidates, the rest have none.
    let line = |at: usize| {
        let others: Vec<String> = (0..8)
            .filter(|other| *other != at)
            .map(|other| format!("\"p{other}\""))
            .collect();
        let negatives = if at < 8 { others.join(",") } else { String::new() };
        format!("{{\"query\":\"q{at}\",\"pos\":\"p{at}\",\"negs\":[{negatives}]}}")
    };
    let data = data(&(0..32).map(line).collect::<Vec<_>>());
    let clustered = BatchOptions {
        cluster: 4,
        ..options(4, 0)
    };
    let alike = |options: &BatchOptions| -> Vec<usize> {
        let mut batcher = batcher(&data, options);
        let taken: Vec<Vec<u32>> = (0..8).map(|step| batcher.batch(&data, step).pairs).collect();
        assert_eq!(
            taken.iter().flatten().collect::<HashSet<_>>().len(),
            32,
            "every row once"
        );
        let counts = taken.iter().map(|pairs| pairs.iter().filter(|pair| **pair < 8).count());
        counts.filter(|count| *count > 0).collect()
    };
    // The rest have no cluster: a batch may begin within one, but none is spread over more than two batches.
    assert!(alike(&clustered).len() <= 4, "{:?}", alike(&clustered));
    assert!(alike(&options(4, 0)).len() > 4, "{:?}", alike(&options(4, 0)));
    let message = |cluster| {
        let options = BatchOptions {
            cluster,
            ..options(4, 0)
        };
        options.validate().expect_err("out of range").to_string()
    };
    assert!(message(0).contains("batch.cluster is 0") && message(5).contains("batch.cluster is 5"));
}

#[test]
fn scored_rows_draw_scored_negatives() {
    let mut lines = plain(4);
    lines.push(r#"{"query":"s","pos":"p","negs":["n0","n1"],"scores":[3,2,1]}"#.to_owned());
    lines.push(r#"{"query":"u","pos":"v","negs":["w"],"scores":[5,4]}"#.to_owned());
    let data = data(&lines);
    let mut scored = Batcher::new(&data, &DataOptions::default(), &options(2, 3), true).expect("two rows");
    assert_eq!(scored.num_rows(), 2);
    let batch = scored.batch(&data, 0);
    let mut groups: Vec<Vec<f32>> = batch
        .scores
        .chunks(4)
        .map(|group| group.iter().flatten().copied().collect())
        .collect();
    groups.sort_by(|a, b| a[0].total_cmp(&b[0]));
    assert_eq!(groups, [vec![3.0, 2.0, 1.0, 2.0], vec![5.0, 4.0, 4.0, 4.0]]);
    let message = |size, negatives, scored| {
        let options = options(size, negatives);
        Batcher::new(&data, &DataOptions::default(), &options, scored)
            .expect_err("too few")
            .to_string()
    };
    assert!(message(3, 1, true).contains("2 rows"), "{}", message(3, 1, true));
    assert!(message(7, 0, false).contains("6 rows"));
    assert!(message(2, 900, false).contains("passages"));
    assert!(message(0, 0, false).contains("batch.size"));
}
