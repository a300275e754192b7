//! Runs end to end on a tiny checkpoint: the loss falls, any number of threads and any kill gives the same bytes.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use tamis_encoder::{Compute, InputKind};
use tamis_train::{EndReason, Error, Finished, LogRecord, Observer, Recipe, StepView, TrainingRun, read_log};

const CHECKPOINT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../tamis-encoder/tests/fixtures/bert-plain"
);
const DENSE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../tamis-encoder/tests/fixtures/dense-mean"
);

const PASSAGES: [&str; 12] = [
    "the miller sifts flour through a fine sieve",
    "a water wheel turns the mill stone",
    "wheat and rye are ground to bran and germ",
    "the baker kneads dough with yeast and salt",
    "a drum sieve holds back the coarse bran",
    "the old mill stands by the river",
    "steel is heated until it glows",
    "cream and eggs are beaten with a whisk",
    "a wooden bowl keeps the dough warm",
    "flour is kept dry and cool in a jar",
    "the knife is drawn over a wet stone",
    "honey sweetens the bread of the baker",
];

/// A folder with rows, and a judged collection of them.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path();
    let query = |text: &str| text.split(' ').rev().step_by(2).collect::<Vec<_>>().join(" ");
    let rows: Vec<String> = PASSAGES
        .iter()
        .enumerate()
        .map(|(at, text)| {
            format!(
                "{{\"src\":\"s{}\",\"query\":\"{}\",\"title\":\"\",\"text\":\"{text}\"}}\n",
                at % 3,
                query(text)
            )
        })
        .collect();
    fs::write(dir.join("rows.jsonl"), rows.concat()).expect("writable");
    fs::create_dir_all(dir.join("mills/qrels")).expect("writable");
    let (mut corpus, mut queries, mut qrels) =
        (String::new(), String::new(), "query-id\tcorpus-id\tscore\n".to_owned());
    for (at, text) in PASSAGES.iter().enumerate() {
        corpus += &format!("{{\"_id\":\"d{at}\",\"title\":\"\",\"text\":\"{text}\"}}\n");
        queries += &format!("{{\"_id\":\"q{at}\",\"text\":\"{}\"}}\n", query(text));
        qrels += &format!("q{at}\td{at}\t1\n");
    }
    for (name, text) in [
        ("corpus.jsonl", corpus),
        ("queries.jsonl", queries),
        ("qrels/test.tsv", qrels),
    ] {
        fs::write(dir.join("mills").join(name), text).expect("writable");
    }
    folder
}

/// A small recipe on the rows of `dir`, with further assignments.
fn recipe(dir: &Path, more: &[&str]) -> Recipe {
    let mut all: Vec<String> = [
        "trainer.steps=12",
        "run.log_every=2",
        "run.checkpoint_every=5",
        "evaluation.every=4",
        "evaluation.metrics=[\"ndcg@10\"]",
        "batch.size=4",
        "batch.negatives=1",
        "trainer.learning_rate.peak=3e-3",
        "trainer.learning_rate.warm_up={steps = 2}",
        "trainer.loss={contrastive = \"in_batch\"}",
    ]
    .map(str::to_owned)
    .to_vec();
    all.extend(more.iter().map(|one| (*one).to_owned()));
    let mut recipe = Recipe::preset("splade-max")
        .expect("a preset")
        .with(&all)
        .expect("known fields");
    recipe.model.base = Some(CHECKPOINT.into());
    recipe.data.files = vec![dir.join("rows.jsonl")];
    recipe.evaluation.collections = vec![dir.join("mills")];
    recipe
}

fn train(recipe: Recipe, output: &Path) -> Finished {
    let run = TrainingRun::start(recipe, output, Compute::default(), &mut ()).expect("it starts");
    run.finish(&mut ()).expect("it ends")
}

/// Every file below `dir` with its content.
fn tree(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut files, mut open) = (BTreeMap::new(), vec![dir.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                open.push(path);
            } else {
                files.insert(
                    path.strip_prefix(dir).expect("below").to_owned(),
                    fs::read(&path).expect("readable"),
                );
            }
        }
    }
    files
}

/// Both runs left the same: log, weights, states, curves, card.
fn assert_same(one: &Path, other: &Path) {
    let (one, other) = (tree(one), tree(other));
    let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&one), names(&other));
    for (name, bytes) in &one {
        let same = other[name] == *bytes;
        assert!(
            same,
            "{}: {}",
            name.display(),
            String::from_utf8_lossy(&bytes[..bytes.len().min(2000)])
        );
    }
}

/// Dies, or asks to stop, after some steps of this process.
struct Until {
    steps: u64,
    done: u64,
    dies: bool,
}

impl Observer for Until {
    fn stepped(&mut self, view: &StepView<'_>) {
        self.done = view.done_here;
        assert!(!self.dies || view.done_here < self.steps, "killed");
    }

    fn is_stopped(&self) -> bool {
        !self.dies && self.done >= self.steps
    }
}

#[test]
fn the_loss_falls_and_the_best_model_is_kept() {
    let folder = folder();
    let output = folder.path().join("run");
    let recipe = recipe(folder.path(), &["trainer.steps=40", "evaluation.every=10"]);
    let Finished::Ended {
        reason,
        model,
        model_step,
        mean,
    } = train(recipe, &output)
    else {
        panic!("it was not stopped");
    };
    assert_eq!((reason, model.clone()), (EndReason::Steps, output.join("model")));
    let records = read_log(&output.join("log.jsonl")).expect("a log");
    let losses: Vec<f64> = records
        .iter()
        .filter_map(|record| match record {
            LogRecord::Step(step) => Some(step.terms["contrastive"]),
            _ => None,
        })
        .collect();
    assert_eq!(losses.len(), 20);
    let mean_of = |losses: &[f64]| losses.iter().sum::<f64>() / 5.0;
    assert!(mean_of(&losses[15..]) < 0.8 * mean_of(&losses[..5]), "{losses:?}");
    let evaluations: Vec<(u64, f64)> = records
        .iter()
        .filter_map(|record| match record {
            LogRecord::Evaluation(one) => Some((one.step, one.mean)),
            _ => None,
        })
        .collect();
    assert_eq!(
        evaluations.iter().map(|one| one.0).collect::<Vec<_>>(),
        [10, 20, 30, 40]
    );
    let best = evaluations
        .iter()
        .fold((0, -1.0), |best, &one| if one.1 > best.1 { one } else { best });
    assert_eq!((Some(best.1), best.0), (mean, model_step));
    // What was kept is a model like any other, and evaluates as it did then.
    let encoder = tamis_encoder::open(&model.display().to_string()).expect("it opens");
    let vectors = encoder.encode(InputKind::Document, &PASSAGES).expect("encoded");
    assert!(vectors.iter().all(|vector| !vector.tokens.is_empty()));
    let mills = tamis_train::DevCollection::open(&folder.path().join("mills"), "test").expect("a collection");
    let metric = "ndcg@10".parse().expect("a metric");
    let figures = mills.judge(encoder.as_ref(), &[metric], folder.path()).expect("judged");
    assert_eq!(figures.metrics.get(metric), mean);
    let card = fs::read_to_string(model.join("README.md")).expect("a card");
    for needle in [
        "splade-max",
        "`rows.jsonl`: 12 rows",
        "mills",
        "not zero-shot",
        "bert-plain",
    ] {
        assert!(card.contains(needle), "{needle}: {card}");
    }
    assert!(
        !card.contains(folder.path().to_str().expect("UTF-8")),
        "no path of this machine: {card}"
    );
    let curves = fs::read_dir(output.join("curves")).expect("drawn").count();
    assert!(curves >= 6, "{curves}");
}

#[test]
fn a_killed_run_goes_on_to_the_same_bytes() {
    let folder = folder();
    let dir = folder.path();
    let more = [
        "negatives.start=bm25",
        "negatives.refresh_every=6",
        "negatives.mining.num_negatives=3",
        "negatives.mining.last_rank=6",
    ];
    let whole = dir.join("whole");
    let recipe = recipe(dir, &more);
    train(recipe.clone(), &whole);
    // Killed before any checkpoint, then right behind one, then between a checkpoint and mining.
    let killed = dir.join("killed");
    let mut first = Some(recipe.clone());
    for steps in [3, 6, 3] {
        let mut observer = Until {
            steps,
            done: 0,
            dies: true,
        };
        let run = match first.take() {
            Some(recipe) => TrainingRun::start(recipe, &killed, Compute::default(), &mut ()),
            None => TrainingRun::resume(&killed, Compute::default(), &mut ()),
        };
        let run = run.expect("it goes on");
        let died = catch_unwind(AssertUnwindSafe(|| run.finish(&mut observer)));
        assert!(died.is_err(), "it died in step {steps}");
    }
    let run = TrainingRun::resume(&killed, Compute::default(), &mut ()).expect("it goes on");
    let finished = run.finish(&mut ()).expect("it ends");
    assert!(matches!(finished, Finished::Ended { .. }));
    assert_same(&whole, &killed);
    // Stopped on request, and with another number of threads.
    let stopped = dir.join("stopped");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
    let finished = pool.install(|| {
        let mut observer = Until {
            steps: 7,
            done: 0,
            dies: false,
        };
        let run = TrainingRun::start(recipe, &stopped, Compute::default(), &mut ()).expect("it starts");
        run.finish(&mut observer)
    });
    assert_eq!(finished.expect("stopped"), Finished::Stopped { step: 7 });
    let run = TrainingRun::resume(&stopped, Compute::default(), &mut ()).expect("it goes on");
    run.finish(&mut ()).expect("it ends");
    assert_same(&whole, &stopped);
    // A run that has ended only puts its model in place once more.
    fs::remove_dir_all(stopped.join("model")).expect("there");
    let run = TrainingRun::resume(&stopped, Compute::default(), &mut ()).expect("it goes on");
    run.finish(&mut ()).expect("it ends");
    assert_same(&whole, &stopped);
}

#[test]
fn teachers_are_distilled_and_early_stop_stops() {
    let folder = folder();
    let dir = folder.path();
    let members =
        format!("teacher.members=[{{kind = \"bm25\"}}, {{kind = \"dense\", model = \"{DENSE}\", weight = 30.0}}]");
    let kl = "trainer.loss={kl = {student_temperature = 2.0, teacher_temperature = 2.0}}";
    let live = train(recipe(dir, &[&members, kl]), &dir.join("live"));
    assert!(matches!(live, Finished::Ended { .. }));
    let terms = |name: &str| {
        let records = read_log(&dir.join(name).join("log.jsonl")).expect("a log");
        let names = records.iter().find_map(|record| match record {
            LogRecord::Step(step) => Some(step.terms.keys().cloned().collect::<Vec<_>>()),
            _ => None,
        });
        names.expect("steps")
    };
    assert!(terms("live").contains(&"kl".to_owned()), "{:?}", terms("live"));
    // The same over all documents of the batch.
    let batch = "trainer.loss={kl = {candidates = \"batch\"}}";
    train(
        recipe(dir, &[&members, batch, "teacher.in_batch=true"]),
        &dir.join("batch"),
    );
    let refused = recipe(dir, &[&members, batch])
        .validate()
        .expect_err("no scores")
        .to_string();
    assert!(refused.contains("teacher.in_batch"), "{refused}");
    // Scored before the start, and cleared of what the teacher takes for answers.
    let cache = format!("teacher.cache={}", dir.join("scores.jsonl").display());
    let filtered = [
        &members,
        kl,
        cache.as_str(),
        "negatives.start=bm25",
        "negatives.margin=1.0",
        "evaluation.patience=1",
        "evaluation.every=1",
    ];
    let finished = train(recipe(dir, &filtered), &dir.join("cached"));
    assert!(dir.join("scores.jsonl").is_file());
    let records = read_log(&dir.join("cached/log.jsonl")).expect("a log");
    assert!(
        records
            .iter()
            .any(|record| matches!(record, LogRecord::Negatives(found) if found.negatives > 0))
    );
    let Finished::Ended { reason, .. } = finished else {
        panic!("it was not stopped");
    };
    let evaluations: Vec<bool> = records
        .iter()
        .filter_map(|record| match record {
            LogRecord::Evaluation(one) => Some(one.best),
            _ => None,
        })
        .collect();
    match reason {
        EndReason::Patience => assert_eq!(evaluations.last(), Some(&false)),
        EndReason::Steps => assert_eq!(evaluations.len(), 12),
    }
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_written() {
    let folder = folder();
    let dir = folder.path();
    let refused = |recipe: Recipe| {
        let run = TrainingRun::start(recipe, &dir.join("run"), Compute::default(), &mut ());
        let message = run.err().expect("refused").to_string();
        assert!(!dir.join("run").exists(), "{message}");
        message
    };
    let mut baseless = recipe(dir, &[]);
    baseless.model.base = None;
    assert!(refused(baseless).contains("--model"));
    let mut nowhere = recipe(dir, &[]);
    nowhere.data.files = vec![dir.join("nowhere.jsonl")];
    assert!(refused(nowhere).contains("nowhere.jsonl"));
    assert!(refused(recipe(dir, &["trainer.loss={kl = {}}"])).contains("teacher.members"));
    assert!(refused(recipe(dir, &["trainer.steps=0"])).contains("steps is 0"));

    let output = dir.join("run");
    train(recipe(dir, &["trainer.steps=5"]), &output);
    let again = TrainingRun::start(recipe(dir, &[]), &output, Compute::default(), &mut ());
    assert!(matches!(again.err(), Some(Error::RunExists { .. })));
    let none = TrainingRun::resume(&dir.join("mills"), Compute::default(), &mut ());
    assert!(matches!(none.err(), Some(Error::NoRun { .. })));
    // Other data under the same name.
    let rows = fs::read_to_string(dir.join("rows.jsonl")).expect("there");
    fs::write(dir.join("rows.jsonl"), rows.replacen("miller", "baker", 1)).expect("writable");
    let other = TrainingRun::resume(&output, Compute::default(), &mut ());
    assert!(matches!(other.err(), Some(Error::DataChanged { .. })));
}
