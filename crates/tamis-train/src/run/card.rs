//! The card of a trained model: what it was made of, how, and what it is worth where it was watched.

use std::fmt::Write;
use std::path::Path;

use super::log::{EvaluationRecord, LogRecord, StepRecord};
use crate::data::TrainingData;
use crate::recipe::Recipe;
use crate::teacher::TeacherKind;

/// What a card tells of.
pub(super) struct Source<'a> {
    pub(super) recipe: &'a Recipe,
    pub(super) data: &'a TrainingData,
    pub(super) records: &'a [LogRecord],
    pub(super) model_step: u64,
}

/// The text of README.md. No path of the machine is in it, only names.
pub(super) fn text(source: &Source<'_>) -> String {
    let Source {
        recipe,
        data,
        records,
        model_step,
    } = *source;
    let name = match recipe.name.as_str() {
        "" => "a recipe of its own",
        name => name,
    };
    let base = recipe.model.base.as_deref().map_or_else(String::new, file_name);
    let counts = data.set().counts();
    let mut text = format!(
        "# A sparse encoder, trained with Tamis

Recipe: {name}. {about} {published}
It started from `{base}`, whose licence applies, as do those of the texts below.

| | |
|---|---|
| steps | {model_step} of {steps} |
| queries a step, documents each | {size}, {group} |
| pairs, distinct queries, distinct passages | {pairs}, {queries}, {passages} |
| teacher | {teacher} |
| seeds (batches, trainer) | {seed}, {trainer_seed} |

## Texts
",
        about = recipe.about,
        published = match recipe.source.as_str() {
            "" => String::new(),
            source => format!("After {source}."),
        },
        steps = recipe.trainer.steps,
        size = recipe.batch.size,
        group = recipe.batch.group(),
        pairs = counts.num_pairs,
        queries = counts.num_queries,
        passages = counts.num_passages,
        teacher = teachers(recipe),
        seed = recipe.batch.seed,
        trainer_seed = recipe.trainer.seed,
    );
    // Writing to a string cannot fail.
    for file in data.files() {
        let _ = match file.num_excluded {
            0 => writeln!(text, "- `{}`: {} rows", file.name, file.num_rows),
            left_out => writeln!(
                text,
                "- `{}`: {} rows, {left_out} left out by source",
                file.name, file.num_rows
            ),
        };
    }
    if let Some(step) = last_step(records, model_step) {
        let _ = writeln!(
            text,
            "\n## Training texts at the end\nloss {:.4}, {:.1} weights a document, {:.1} a query, FLOPS {:.3}",
            step.loss, step.document_length, step.query_length, step.flops
        );
    }
    if let Some(evaluation) = evaluation(records, model_step) {
        figures(&mut text, evaluation);
    }
    let _ = writeln!(text, "\n## Recipe\n```toml\n{}```", without_paths(recipe).to_toml());
    text
}

fn teachers(recipe: &Recipe) -> String {
    let members = recipe.teacher.members.iter().map(|member| {
        let name = match member.kind {
            TeacherKind::Stored => "scores of the data".to_owned(),
            TeacherKind::Bm25 => "BM25".to_owned(),
            TeacherKind::Dense | TeacherKind::Sparse => member.model.as_deref().map_or_else(String::new, file_name),
        };
        format!("{} x {name}", member.weight)
    });
    let members: Vec<String> = members.collect();
    if members.is_empty() {
        "none".to_owned()
    } else {
        members.join(" + ")
    }
}

fn figures(text: &mut String, evaluation: &EvaluationRecord) {
    let _ = writeln!(
        text,
        "\n## Development collections\nThe model was chosen by {} on these: figures on them are not zero-shot.\n",
        evaluation.metric
    );
    let metrics: Vec<String> = evaluation.figures.first().map_or_else(Vec::new, |first| {
        first.metrics.iter().map(|(metric, _)| metric.to_string()).collect()
    });
    let _ = writeln!(
        text,
        "| collection | {} | weights a document | FLOPS |",
        metrics.join(" | ")
    );
    let _ = writeln!(text, "|---|{}", "---|".repeat(metrics.len() + 2));
    for one in &evaluation.figures {
        let values: Vec<String> = one.metrics.iter().map(|(_, value)| format!("{value:.4}")).collect();
        let _ = writeln!(
            text,
            "| {} | {} | {:.1} | {:.3} |",
            one.collection,
            values.join(" | "),
            one.document_length,
            one.flops
        );
    }
}

/// The recipe with the names of files and folders alone.
fn without_paths(recipe: &Recipe) -> Recipe {
    let mut recipe = recipe.clone();
    let names = |paths: &mut Vec<std::path::PathBuf>| {
        paths.iter_mut().for_each(|path| *path = file_name(path).into());
    };
    names(&mut recipe.data.files);
    names(&mut recipe.data.scores);
    names(&mut recipe.evaluation.collections);
    let members = recipe
        .teacher
        .members
        .iter_mut()
        .filter_map(|member| member.model.as_mut());
    let others = [recipe.model.base.as_mut(), recipe.teacher.cache.as_mut()];
    for path in members.chain(others.into_iter().flatten()) {
        *path = file_name(path).into();
    }
    recipe
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn last_step(records: &[LogRecord], model_step: u64) -> Option<&StepRecord> {
    records.iter().rev().find_map(|record| match record {
        LogRecord::Step(step) if step.step <= model_step => Some(step),
        _ => None,
    })
}

fn evaluation(records: &[LogRecord], model_step: u64) -> Option<&EvaluationRecord> {
    records.iter().rev().find_map(|record| match record {
        LogRecord::Evaluation(evaluation) if evaluation.step == model_step => Some(evaluation),
        _ => None,
    })
}
