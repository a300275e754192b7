//! Mining over small sets: what may be a negative, at which rank and score, and that nothing depends on threads.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use tamis_encoder::lexical::idf;
use tamis_encoder::{Encoder, InputKind, QueryWeighting, joined};
use tamis_train::{Error, Example, Mined, MiningOptions, TextKey, TrainingPair, TrainingPairs, TrainingSet, mine};

/// Questions about kitchens and workshops that share words with each other's answers.
const ROWS: [(&str, &str, &str); 12] = [
    (
        "How do I sift flour?",
        "Sieve",
        "Shake the flour through a fine sieve held over a bowl.",
    ),
    (
        "how do i sift flour",
        "",
        "A whisk loosens flour when no sieve is at hand.",
    ),
    (
        "how do I sift FLOUR?",
        "Sieve",
        "Shake the flour, through a fine sieve held over a bowl!",
    ),
    (
        "What is a drum sieve made of?",
        "Tamis",
        "A drum sieve is a wooden ring with a mesh of silk or steel.",
    ),
    (
        "Why rest bread dough?",
        "Dough",
        "Resting lets flour take up water, so the dough stretches.",
    ),
    (
        "How is steel hardened?",
        "Steel",
        "Steel is heated until it glows and quenched in water or oil.",
    ),
    (
        "Which bowl is best for dough?",
        "Bowl",
        "A wooden bowl keeps dough warm; a steel bowl cools it.",
    ),
    (
        "How do I sharpen a steel knife?",
        "",
        "Draw the steel knife over a wet stone, then over leather.",
    ),
    (
        "What does a whisk do?",
        "Whisk",
        "A whisk beats air into cream and eggs.",
    ),
    (
        "How is flour stored?",
        "Flour",
        "Keep flour dry and cool in a closed jar, away from light.",
    ),
    (
        "What holds a knife's edge?",
        "Knife",
        "Hard steel holds an edge longer but chips when bent.",
    ),
    ("Zymurgy?", "", "Yeast turns sugar to alcohol."),
];

fn set_of(rows: &[(&str, &str, &str)]) -> TrainingSet {
    let pairs = rows.iter().map(|&(query, title, text)| {
        let [query, title, text] = [query, title, text].map(str::to_owned);
        Ok(TrainingPair {
            source: "kitchen".to_owned(),
            query,
            title,
            text,
        })
    });
    TrainingSet::collect(pairs).expect("clean rows")
}

/// A set of a few hundred pairs over few words, with repeated queries and repeated texts.
fn crowded_set() -> TrainingSet {
    let mut state = 42_u64;
    let mut words = |count: usize| -> String {
        let word = |_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            format!("w{} ", (state >> 33) % 60)
        };
        (0..count).map(word).collect()
    };
    let rows: Vec<(String, String)> = (0..400).map(|row| (words(1 + row % 3), words(1 + row % 5))).collect();
    let rows: Vec<(&str, &str, &str)> = rows
        .iter()
        .map(|(query, text)| (query.as_str(), "", text.as_str()))
        .collect();
    set_of(&rows)
}

fn lexical() -> std::sync::Arc<dyn Encoder> {
    tamis_encoder::open("lexical").expect("built in")
}

fn mined(set: &TrainingSet, options: &MiningOptions) -> Mined {
    let spill = tempfile::tempdir().expect("a temporary folder");
    mine(set, lexical().as_ref(), options, spill.path()).expect("minable")
}

fn everything() -> MiningOptions {
    MiningOptions {
        num_negatives: 10_000,
        last_rank: 10_000,
        ..MiningOptions::default()
    }
}

/// Scores passages from the encoder's own weights, without index or search.
struct Naive {
    documents: Vec<BTreeMap<String, f32>>,
    df: BTreeMap<String, u64>,
}

impl Naive {
    fn new(set: &TrainingSet) -> Self {
        assert_eq!(lexical().query_weighting(), QueryWeighting::TimesIndexIdf);
        let texts: Vec<_> = set
            .passages()
            .iter()
            .map(|passage| joined(Some(&passage.title), &passage.text))
            .collect();
        let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
        let documents = lexical().encode(InputKind::Document, &texts).expect("encodable");
        let documents: Vec<BTreeMap<String, f32>> = documents
            .into_iter()
            .map(|one| one.tokens.into_iter().collect())
            .collect();
        let mut df = BTreeMap::new();
        for token in documents.iter().flat_map(BTreeMap::keys) {
            *df.entry(token.clone()).or_insert(0) += 1;
        }
        Self { documents, df }
    }

    /// The score of every passage for a query.
    fn scores(&self, query: &str) -> Vec<f64> {
        let query = lexical()
            .encode(InputKind::Query, &[query])
            .expect("encodable")
            .remove(0);
        let num_docs = self.documents.len() as u64;
        let product = |document: &BTreeMap<String, f32>, (token, own): &(String, f32)| {
            document
                .get(token)
                .map_or(0.0, |weight| f64::from(own * idf(num_docs, self.df[token]) * weight))
        };
        let score = |document| query.tokens.iter().map(|term| product(document, term)).sum();
        self.documents.iter().map(score).collect()
    }
}

/// Every negative must be a passage that no pair gives for the same query, by text.
fn assert_no_known_answer(set: &TrainingSet, examples: &[Example]) {
    let answers: BTreeSet<(TextKey, TextKey)> = set
        .pairs()
        .iter()
        .map(|pair| (TextKey::of(&pair.query), TextKey::of(&set.passage(pair.positive).text)))
        .collect();
    for example in examples {
        let query = TextKey::of(&set.pairs()[example.pair as usize].query);
        for negative in &example.negatives {
            assert!(!answers.contains(&(query, TextKey::of(&set.passage(negative.passage).text))));
        }
    }
}

#[test]
fn all_candidates_come_in_order_with_the_scores_of_the_encoder() {
    for set in [set_of(&ROWS), crowded_set()] {
        let Mined { examples, report } = mined(&set, &everything());
        assert_eq!(examples.len(), set.pairs().len());
        assert_eq!(report.set, set.counts());
        let (judge, mut num_negatives) = (Naive::new(&set), 0);
        for (pair, example) in set.pairs().iter().zip(&examples) {
            let naive = judge.scores(&pair.query);
            // Quantised weights: half a step of 1.9/255 for each of a few terms of weight below 7.
            let close = |found: f64, passage: u32| assert!((found - naive[passage as usize]).abs() < 0.1);
            close(example.positive_score, pair.positive);
            let mut expected: BTreeSet<u32> = (0..)
                .zip(&naive)
                .filter(|(_, score)| **score > 0.0)
                .map(|(number, _)| number)
                .collect();
            expected.retain(|number| !set.positives(pair).contains(number));
            let found: BTreeSet<u32> = example.negatives.iter().map(|negative| negative.passage).collect();
            assert_eq!(found, expected, "{}", pair.query);
            assert!(example.negatives.is_sorted_by(|a, b| a.score >= b.score));
            for (rank, negative) in (1..).zip(&example.negatives) {
                assert_eq!(negative.rank, rank);
                close(negative.score, negative.passage);
            }
            num_negatives += example.negatives.len() as u64;
        }
        assert_eq!(report.num_negatives, num_negatives);
        let without = examples.iter().filter(|example| example.negatives.is_empty()).count();
        assert_eq!(report.num_without_negatives, without as u64);
    }
}

#[test]
fn answers_to_the_same_question_are_never_negatives() {
    let set = set_of(&ROWS);
    assert_eq!((set.pairs().len(), set.passages().len()), (11, 11));
    let Mined { examples, report } = mined(&set, &everything());
    assert_no_known_answer(&set, &examples);
    // The two answers about sifting share words with both questions, and still are no negatives of them.
    let passages: Vec<u32> = examples[0].negatives.iter().map(|negative| negative.passage).collect();
    assert!(
        !passages.is_empty() && !passages.contains(&0) && !passages.contains(&1),
        "{passages:?}"
    );
    // But they may be negatives of other questions.
    assert!(
        examples
            .iter()
            .any(|example| example.negatives.iter().any(|negative| negative.passage == 1))
    );
    // A question of a word that no passage has.
    let last = examples.last().expect("eleven examples");
    assert_eq!((last.positive_score.to_bits(), last.negatives.len()), (0, 0));
    assert_eq!(report.num_without_negatives, 1);
    let crowded = crowded_set();
    assert!(
        crowded.pairs().iter().any(|pair| crowded.positives(pair).len() > 3),
        "queries repeat"
    );
    assert!(crowded.passages().len() < crowded.pairs().len(), "texts repeat");
    assert_no_known_answer(&crowded, &mined(&crowded, &MiningOptions::default()).examples);
}

#[test]
fn the_rank_range_and_the_number_hold() {
    let set = crowded_set();
    let all = mined(&set, &everything()).examples;
    let options = MiningOptions {
        num_negatives: 4,
        first_rank: 3,
        last_rank: 12,
        ..MiningOptions::default()
    };
    let some = mined(&set, &options).examples;
    let mut ranks = BTreeSet::new();
    for (all, some) in all.iter().zip(&some) {
        let in_range = all
            .negatives
            .iter()
            .filter(|negative| (3..=12).contains(&negative.rank));
        assert_eq!(some.negatives.len(), in_range.count().min(4));
        for negative in &some.negatives {
            assert_eq!(all.negatives[negative.rank as usize - 1], *negative);
            ranks.insert(negative.rank);
        }
    }
    assert_eq!(ranks.into_iter().collect::<Vec<u32>>(), (3..=12).collect::<Vec<u32>>());
}

#[test]
fn passages_as_good_as_the_positive_are_left_out_when_asked() {
    let set = crowded_set();
    let all = mined(&set, &everything());
    let options = MiningOptions {
        max_share_of_positive: Some(0.9),
        ..everything()
    };
    let cautious = mined(&set, &options);
    let mut left_out = 0;
    for (all, cautious) in all.examples.iter().zip(&cautious.examples) {
        let expected = all
            .negatives
            .iter()
            .filter(|negative| negative.score <= 0.9 * all.positive_score + 1e-9);
        assert_eq!(cautious.negatives, expected.cloned().collect::<Vec<_>>());
        left_out += all.negatives.len() - cautious.negatives.len();
    }
    assert!(left_out > 0);
    assert_eq!(cautious.report.num_positive_first, all.report.num_positive_first);
}

#[test]
fn nothing_depends_on_threads_and_the_draw_on_the_seed_alone() {
    let set = crowded_set();
    let options = MiningOptions {
        num_negatives: 3,
        ..MiningOptions::default()
    };
    let run = |threads, options: &MiningOptions| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("threads");
        pool.install(|| mined(&set, options))
    };
    let one = run(1, &options);
    assert_eq!(one, run(4, &options));
    assert_eq!(one, run(7, &options));
    assert_ne!(one.examples, run(2, &MiningOptions { seed: 1, ..options }).examples);
}

#[test]
fn examples_are_written_as_lines_of_json() {
    let set = set_of(&ROWS);
    let examples = mined(&set, &MiningOptions::default()).examples;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (plain, packed) = (
        folder.path().join("examples.jsonl"),
        folder.path().join("examples.jsonl.zst"),
    );
    Example::write_all(&examples, &set, &plain).expect("writable");
    Example::write_all(&examples, &set, &packed).expect("writable");
    let text = fs::read_to_string(&plain).expect("it was written");
    let unpacked = zstd::decode_all(fs::File::open(&packed).expect("it was written")).expect("zstd");
    assert_eq!(unpacked, text.as_bytes());
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 11);
    let (first, example) = (&lines[0], &examples[0]);
    assert_eq!(first["src"], "kitchen");
    assert_eq!(first["query"], "How do I sift flour?");
    assert_eq!(first["positive"]["title"], "Sieve");
    assert_eq!(
        first["positive"]["text"],
        "Shake the flour through a fine sieve held over a bowl."
    );
    assert_eq!(
        first["negatives"][0]["text"],
        set.passage(example.negatives[0].passage).text
    );
    let scores = first["scores"].as_array().expect("a list");
    assert_eq!(scores.len(), 1 + example.negatives.len());
    assert_eq!(scores[0].as_f64(), Some(example.positive_score));
}

#[test]
fn pairs_are_read_through_compression_and_errors_name_the_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("pairs.jsonl.zst");
    let lines = "{\"query\":\"q\",\"text\":\"t\"}\n{\"query\":\"q\"}\n";
    fs::write(&path, zstd::encode_all(lines.as_bytes(), 1).expect("in memory")).expect("writable");
    let mut pairs = TrainingPairs::open(&path).expect("it is there");
    assert_eq!(pairs.next().expect("two lines").expect("clean").text, "t");
    let message = pairs.next().expect("two lines").expect_err("no text").to_string();
    assert!(
        message.starts_with(&format!("{}, line 2, column 13: expected", path.display())),
        "{message}"
    );
    assert!(matches!(
        TrainingPairs::open(&folder.path().join("none")),
        Err(Error::Read(_))
    ));
}

#[test]
fn options_out_of_range_are_refused_and_an_empty_set_is_not() {
    let empty = TrainingSet::default();
    let default = MiningOptions::default();
    assert!(mined(&empty, &default).examples.is_empty());
    for (options, name) in [
        (
            MiningOptions {
                first_rank: 0,
                ..default.clone()
            },
            "first_rank",
        ),
        (
            MiningOptions {
                first_rank: 5,
                last_rank: 4,
                ..default.clone()
            },
            "last_rank",
        ),
        (
            MiningOptions {
                last_rank: 10_001,
                ..default.clone()
            },
            "last_rank",
        ),
        (
            MiningOptions {
                max_share_of_positive: Some(f64::NAN),
                ..default.clone()
            },
            "max_share_of_positive",
        ),
        (
            MiningOptions {
                max_share_of_positive: Some(0.0),
                ..default
            },
            "max_share_of_positive",
        ),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let error = mine(&empty, lexical().as_ref(), &options, folder.path()).expect_err("out of range");
        assert!(
            matches!(error, Error::BadOption { option, .. } if option == name),
            "{error}"
        );
    }
}
