//! From documents as given to documents ready for a segment: checked, encoded, analysed; in parallel.

use crate::Error;
use crate::document::{self, Document, DocumentFailure};
use crate::fields::Source;
use crate::schema::{FieldSchema, FieldValue};
use crate::words;
use rayon::prelude::*;
use tamis_encoder::{Encoder, InputKind, SparseEncoding, joined};

/// Texts that are handed to the encoder at once.
const ENCODE_BATCH: usize = 256;

/// A document that will be stored.
pub(crate) struct Prepared {
    pub(crate) id: String,
    /// JSON of [`Source`].
    pub(crate) source: Vec<u8>,
    /// Analysed words, separated by line feeds.
    pub(crate) words: String,
    pub(crate) num_words: u32,
    pub(crate) values: Vec<(String, FieldValue)>,
    /// Distinct tokens with weights.
    pub(crate) tokens: Vec<(String, f32)>,
    pub(crate) truncated: bool,
}

/// Prepares `documents`; those that are refused come back as failures, `first` being the place of the
/// first one in the caller's batch.
pub(crate) fn prepare(
    documents: Vec<Document>,
    first: usize,
    schema: &FieldSchema,
    encoder: Option<&dyn Encoder>,
) -> (Vec<Prepared>, Vec<DocumentFailure>) {
    let failure = |position: usize, id: &str, reason: String| DocumentFailure {
        position: first + position,
        id: id.chars().take(64).collect(),
        reason,
    };
    let mut checked = Vec::with_capacity(documents.len());
    let mut failed = Vec::new();
    for (position, document) in documents.into_iter().enumerate() {
        match document::check(&document, schema) {
            Ok(values) => checked.push((position, document, values)),
            Err(Error::BadDocument { reason, .. }) => failed.push(failure(position, &document.id, reason)),
            Err(other) => failed.push(failure(position, &document.id, other.to_string())),
        }
    }
    let encodings: Vec<Result<SparseEncoding, String>> = checked
        .par_chunks(ENCODE_BATCH)
        .flat_map_iter(|chunk| encode(chunk.iter().map(|(_, document, _)| document), encoder))
        .collect();
    let prepared: Vec<Result<Prepared, DocumentFailure>> = checked
        .into_par_iter()
        .zip(encodings)
        .map(|((position, document, values), encoding)| {
            let id = document.id.clone();
            let encoding = encoding.map_err(|reason| failure(position, &id, reason))?;
            build(document, values, encoding).map_err(|error| failure(position, &id, error.to_string()))
        })
        .collect();
    let mut ready = Vec::with_capacity(prepared.len());
    for one in prepared {
        match one {
            Ok(prepared) => ready.push(prepared),
            Err(failure) => failed.push(failure),
        }
    }
    failed.sort_by_key(|failure| failure.position);
    (ready, failed)
}

/// The vectors of `documents`: their own, or what the encoder makes of their texts.
fn encode<'a>(
    documents: impl Iterator<Item = &'a Document> + Clone,
    encoder: Option<&dyn Encoder>,
) -> Vec<Result<SparseEncoding, String>> {
    let own = |document: &Document| match (&document.vector, encoder) {
        (Some(vector), _) => Some(SparseEncoding {
            tokens: vector.clone(),
            num_tokens: vector.len(),
            num_windows: 0,
            truncated: false,
        }),
        (None, None) => Some(SparseEncoding::default()),
        (None, Some(_)) => None,
    };
    let texts: Vec<_> = documents
        .clone()
        .filter(|document| own(document).is_none())
        .map(|document| joined(document.title.as_deref(), document.text.as_deref().unwrap_or_default()))
        .collect();
    let mut encoded = encode_texts(&texts, encoder).into_iter();
    let missing = || Err("the model returned too few vectors".to_owned());
    documents
        .map(|document| own(document).map_or_else(|| encoded.next().unwrap_or_else(missing), Ok))
        .collect()
}

/// Encodes a batch; when that fails, each text by itself, so that one bad text does not refuse its
/// neighbours.
fn encode_texts(
    texts: &[std::borrow::Cow<'_, str>],
    encoder: Option<&dyn Encoder>,
) -> Vec<Result<SparseEncoding, String>> {
    let Some(encoder) = encoder.filter(|_| !texts.is_empty()) else {
        return Vec::new();
    };
    let plain: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
    if let Ok(encoded) = encoder.encode(InputKind::Document, &plain) {
        return encoded.into_iter().map(Ok).collect();
    }
    let alone = |text: &&str| {
        let encoded = encoder
            .encode(InputKind::Document, &[text])
            .map_err(|error| error.to_string())?;
        encoded
            .into_iter()
            .next()
            .ok_or_else(|| "the model returned no vector".to_owned())
    };
    plain.iter().map(alone).collect()
}

fn build(document: Document, values: Vec<(String, FieldValue)>, encoding: SparseEncoding) -> Result<Prepared, Error> {
    let text = joined(document.title.as_deref(), document.text.as_deref().unwrap_or_default());
    let (words, num_words) = words::analyse(&text);
    let id = document.id.clone();
    let source =
        serde_json::to_vec(&Source::from(document)).map_err(|error| Error::internal("storing a document", error))?;
    Ok(Prepared {
        id,
        source,
        words,
        num_words,
        values,
        tokens: encoding.tokens,
        truncated: encoding.truncated,
    })
}
