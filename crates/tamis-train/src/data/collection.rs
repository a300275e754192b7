//! Judged collections as training data: a row for each judgement that says yes.

use std::collections::{HashMap, HashSet};

use tamis_eval::BeirCollection;

use super::line::{DocumentText, Judged};
use super::options::DataOptions;
use super::reading::Reading;
use crate::error::Error;

/// Reads all documents of a collection, and of each query of the split a row for every document that answers it.
/// Documents that are judged not to are its first negatives.
pub(super) fn read(
    reading: &mut Reading<'_>,
    file: u32,
    collection: &BeirCollection,
    options: &DataOptions,
) -> Result<(), Error> {
    let qrels = collection.qrels(&options.split)?;
    let queries = collection.judged_queries(&qrels)?;
    let judged_documents = queries.iter().flat_map(|query| qrels.judgements(&query.id));
    let judged_documents: HashSet<&str> = judged_documents.map(|(document, _)| document).collect();
    let mut texts = HashMap::new();
    for document in collection.documents()? {
        let document = document?;
        // An empty document answers nothing.
        if document.text.trim().is_empty() && document.title.trim().is_empty() {
            continue;
        }
        let (title, text) = match document.text.trim().is_empty() {
            true => (String::new(), document.title),
            false => (document.title, document.text),
        };
        let passage = reading.passage(title.clone(), text.clone())?;
        reading.passage_of_document.insert(document.id.clone(), passage);
        if judged_documents.contains(document.id.as_str()) {
            texts.insert(document.id, DocumentText { title, text });
        }
    }
    for query in queries.into_iter().take(options.max_rows.unwrap_or(usize::MAX)) {
        let of = |is_positive: bool| -> Vec<DocumentText> {
            let judged = qrels
                .judgements(&query.id)
                .filter(|(_, grade)| (*grade > 0) == is_positive);
            judged
                .filter_map(|(document, _)| texts.get(document).cloned())
                .collect()
        };
        let positives = of(true);
        if positives.is_empty() {
            continue;
        }
        let judged = Judged {
            source: collection.name(),
            query: query.text,
            positives,
            negatives: of(false),
            scores: Vec::new(),
        };
        let pairs = reading.add(file, judged)?;
        reading.pairs_of_query.insert(query.id, pairs);
    }
    Ok(())
}
