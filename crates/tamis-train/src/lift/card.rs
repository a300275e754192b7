//! The card of a lifted model: what it is made of, how, and how it is known.

use super::{FileCounts, ModelSource, Solved};
use std::fmt::Write;
use tamis_core::Fingerprint;
use tamis_encoder::{LongText, QueryWeighting};

/// The text of README.md.
pub(super) fn text(solved: &Solved, source: &ModelSource<'_>, fingerprint: Fingerprint) -> String {
    let (config, report) = (solved.lift.config(), &solved.report);
    let dense = source.dense_name;
    let chosen = match source.chosen_on {
        [] => "given".to_owned(),
        names => format!("chosen by nDCG@10 on {}", names.join(", ")),
    };
    let cosine = |value: Option<f64>| value.map_or_else(|| "not measured".to_owned(), |value| format!("{value:.3}"));
    let lexical = config.lexical;
    format!(
        "{notes}

## How it was made
`tamis lift` made this model: an inference-free sparse encoder: the dense sentence encoder in `dense/` (from `{dense}`) and a table.
A query is the bag of its English stems, each weighing its inverse document frequency{weighting}; no network reads it.
What more than {share} of the queries of a source have on average weighs no more than the negative logarithm of that share.
A document has its lexical weights (saturated term frequency, k1 {k1}, b {b}, average length {length}{gates}) plus the
{top} largest entries of {factor} W (e - mu), e being its dense vector; {own}
Texts that are longer than the dense encoder takes are {long}.

| | |
|---|---|
| stems with a row of W | {terms} of {distinct} in the background texts |
| idf of all other stems | {default_idf} |
| values of a dense vector | {width} |
| lambda, factor | {lambda}, {factor} ({chosen}) |
| scale of the words' vectors | {scale:.6} |
| queries solved on, left out | {queries}, {held_out} |
| mean cosine to the dense vectors of queries left out | {cosine} (vectors of single words: {untrained}) |
| documents averaged for mu | {documents} |
| steps of conjugate gradients | {steps} |

## Texts
Queries ({num_queries} distinct ones kept, at most {max_queries}):

{query_files}
Background texts ({num_background} distinct ones kept, at most {max_background}):

{background_files}
Licences of these texts and of the dense encoder apply.

## Fingerprints
- model: `{fingerprint}`
- dense encoder: `{dense_fingerprint}`
",
        notes = source.notes.unwrap_or("# A lifted model").trim(),
        weighting = match config.query_weighting {
            QueryWeighting::Model => "",
            QueryWeighting::TimesIndexIdf => " in background texts times that in the index searched",
            QueryWeighting::TimesRootIndexIdf => " in background texts times the root of that in the index searched",
        },
        k1 = lexical.k1,
        b = lexical.b,
        length = lexical.average_length,
        gates = match (solved.lift.gate(), config.gate_layers) {
            (None, _) => String::new(),
            (Some(_), 0) => ", scaled by gates".to_owned(),
            (Some(_), layers) => format!(", scaled by gates behind {layers} last layers of their own"),
        },
        share = source.options.query_share,
        own = match config.own_entries {
            true => "its own stems take their entries whatever their rank and sign.",
            false => "its own stems compete for places as others do.",
        },
        long = match config.long_text {
            LongText::Parts { most } => format!("read in parts, at most {most}, and e is made of all their states"),
            LongText::Truncate | LongText::Windows { .. } => "cut".to_owned(),
        },
        top = config.top,
        factor = config.factor,
        terms = config.terms,
        distinct = report.num_distinct_stems,
        default_idf = config.default_idf,
        width = config.width,
        lambda = report.lambda,
        scale = report.scale,
        queries = report.num_queries,
        held_out = report.num_held_out,
        cosine = cosine(report.cosine),
        untrained = cosine(report.cosine_untrained),
        documents = report.num_documents,
        steps = report.ridge.steps,
        num_queries = source.texts.queries.len(),
        max_queries = source.options.max_queries,
        query_files = list(&source.texts.query_files),
        num_background = source.texts.background.len(),
        max_background = source.options.max_background,
        background_files = list(&source.texts.background_files),
        dense_fingerprint = source.dense.fingerprint(),
    )
}

fn list(files: &[FileCounts]) -> String {
    files.iter().fold(String::new(), |mut text, file| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "- `{}`: {} texts", file.name, file.num_texts);
        text
    })
}
