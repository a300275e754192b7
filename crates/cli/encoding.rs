//! From documents to an index: encode in batches, number the terms, build.

use crate::cache::{CacheReport, CachingEncoder};
use crate::exit::{Exit, failure};
use crate::input::{self, Body, Extent, Record, RecordIter};
use crate::output;
use crate::progress::Progress;
use crate::standalone::{MODEL_SECTION, StoredModel};
use anyhow::{Context, bail};
use serde::Serialize;
use std::collections::HashSet;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Instant;
use tamis_core::{SparseVector, Vocabulary};
use tamis_encoder::lexical::{AverageLength, Lexical, LexicalOptions};
use tamis_encoder::{CheckpointOptions, Compute, DenseEncoder, Encoder, InputKind, LongText, SparseEncoding};
use tamis_index::{BuildReport, Extras, IndexBuilder, IndexOptions};

/// `--long`: what becomes of texts that are longer than the model reads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Long(Option<LongText>);

impl Long {
    /// Tokens that neighbouring windows share, unless told.
    const OVERLAP: usize = 32;

    /// For a dense encoder, whose vectors are not made of windows.
    pub fn for_dense(self) -> anyhow::Result<LongText> {
        match self.0 {
            Some(LongText::Windows { .. }) => {
                let message =
                    "--long windows is for sparse models; dense encoders read long texts in parts (--long parts)";
                Err(failure(Exit::Usage, message))
            }
            long_text => Ok(long_text.unwrap_or_default()),
        }
    }

    /// As options of a checkpoint, which says itself what is done where the command does not.
    pub fn options(self) -> CheckpointOptions {
        CheckpointOptions {
            long_text: self.0,
            ..CheckpointOptions::default()
        }
    }
}

impl FromStr for Long {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let windows = |overlap| LongText::Windows { overlap };
        let parts = |most| LongText::Parts { most };
        let long_text = match text.split_once(':') {
            None if text == "truncate" => Some(LongText::Truncate),
            None if text == "windows" => Some(windows(Self::OVERLAP)),
            None if text == "parts" => Some(LongText::PARTS),
            Some(("windows", overlap)) => overlap.parse().ok().map(windows),
            Some(("parts", most)) => most.parse().ok().map(parts),
            _ => None,
        };
        let expected =
            "truncate, windows[:OVERLAP] with a number of tokens, or parts[:MOST] with a number of 1 or more";
        long_text
            .map(|long_text| Self(Some(long_text)))
            .ok_or_else(|| expected.to_owned())
    }
}

/// Documents encoded at a time: enough for every core, little enough to show progress.
pub const BATCH: usize = 512;

/// Tokens with their weights, distinct.
pub type Tokens = Vec<(String, f32)>;

/// What encoding cost.
#[derive(Clone, Debug, Default, Serialize)]
pub struct EncodeReport {
    /// Texts encoded.
    pub documents: u64,
    /// Texts cut to the model's length.
    pub truncated: u64,
    /// Texts read in more than one window.
    pub windowed: u64,
    /// Windows of all texts.
    pub windows: u64,
    /// Tokens of all texts, as the model counts them.
    pub tokens: u64,
    /// Time in the encoder.
    pub seconds: f64,
    /// Texts a second.
    pub documents_per_second: f64,
    /// What a cache was good for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheReport>,
}

impl EncodeReport {
    /// Encodes `texts` and counts.
    pub fn encode(
        &mut self,
        encoder: &dyn Encoder,
        kind: InputKind,
        texts: &[&str],
    ) -> anyhow::Result<Vec<SparseEncoding>> {
        let start = Instant::now();
        let encodings = encoder.encode(kind, texts)?;
        self.seconds += start.elapsed().as_secs_f64();
        for encoding in &encodings {
            self.count(encoding.num_tokens, encoding.num_windows, encoding.truncated);
        }
        self.set_rate();
        Ok(encodings)
    }

    /// Encodes `texts` to dense vectors and counts.
    pub fn encode_dense(
        &mut self,
        encoder: &DenseEncoder,
        kind: InputKind,
        texts: &[&str],
    ) -> anyhow::Result<Vec<Vec<f32>>> {
        let start = Instant::now();
        let encodings = encoder.encode(kind, texts)?;
        self.seconds += start.elapsed().as_secs_f64();
        for encoding in &encodings {
            self.count(encoding.num_tokens, encoding.num_windows, encoding.truncated);
        }
        self.set_rate();
        Ok(encodings.into_iter().map(|encoding| encoding.values).collect())
    }

    fn count(&mut self, num_tokens: usize, num_windows: usize, truncated: bool) {
        self.documents += 1;
        self.tokens += num_tokens as u64;
        self.windows += num_windows as u64;
        self.windowed += u64::from(num_windows > 1);
        self.truncated += u64::from(truncated);
    }

    fn set_rate(&mut self) {
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let documents = self.documents as f64;
        self.documents_per_second = documents / self.seconds.max(1e-9);
    }

    /// The ids of `batch` with their token weights. Texts are encoded, vectors pass unchanged; `encoder` may be
    /// missing where there are only vectors.
    pub fn encode_records(
        &mut self,
        encoder: Option<&dyn Encoder>,
        kind: InputKind,
        batch: Vec<Record>,
    ) -> anyhow::Result<Vec<(String, Tokens)>> {
        let texts: Vec<String> = batch.iter().filter_map(Record::joined_text).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let encodings = match encoder {
            Some(encoder) => self.encode(encoder, kind, &texts)?,
            None => Vec::new(),
        };
        let mut encodings = encodings.into_iter();
        let vectors = batch.into_iter().map(|record| {
            let tokens = match record.body {
                Body::Vector(tokens) => tokens,
                Body::Text { .. } => encodings.next().context("a text needs a model")?.tokens,
            };
            Ok((record.id, tokens))
        });
        vectors.collect()
    }

    /// Completes the cache that was used, if any, and says what it was good for.
    pub fn finish_cache(&mut self, cache: Option<&CachingEncoder>) {
        let Some(cache) = cache else { return };
        if let Err(error) = cache.finish() {
            output::note(&format!("note: {error:#}"));
        }
        let report = cache.report();
        let (hits, misses) = (output::grouped(report.hits), output::grouped(report.misses));
        output::note(&format!("cache: {hits} texts found, {misses} encoded"));
        self.cache = Some(report);
    }

    /// Says on stderr when texts were cut, or read in windows or parts.
    pub fn warn_long(&self) {
        if self.truncated > 0 {
            let (cut, all) = (output::grouped(self.truncated), output::grouped(self.documents));
            output::note(&format!(
                "note: {cut} of {all} texts are longer than the model reads and were cut (--long reads more of them)"
            ));
        }
        if self.windowed > 0 {
            let [long, all, windows] = [self.windowed, self.documents, self.windows].map(output::grouped);
            output::note(&format!(
                "note: {long} of {all} texts are longer than the model reads at once: {windows} windows in all"
            ));
        }
    }
}

/// Opens model `spec` to encode the documents of `input`, computing as `compute` says.
///
/// The lexical encoder normalises by the average length of the documents, so they are read once before,
/// unless they come from stdin: then its default stands.
pub fn open_model_for(spec: &str, input: &Path, long: Long, compute: Compute) -> anyhow::Result<Arc<dyn Encoder>> {
    if spec != "lexical" || input == Path::new("-") {
        return Ok(tamis_encoder::open_with(spec, &long.options(), compute)?);
    }
    lexical_for_records(input::documents_only(input)?)
}

/// The lexical encoder with the average length of `records`; broken ones are left to who reads them in earnest.
pub fn lexical_for_records(records: RecordIter) -> anyhow::Result<Arc<dyn Encoder>> {
    lexical_for(records.filter_map(Result::ok).filter_map(|record| record.joined_text()))
}

/// The lexical encoder with the average length of `texts`.
pub fn lexical_for(texts: impl Iterator<Item: AsRef<str>>) -> anyhow::Result<Arc<dyn Encoder>> {
    let mut lengths = AverageLength::default();
    texts.for_each(|text| lengths.add(text.as_ref()));
    let mut options = LexicalOptions::default();
    if let Some(average) = lengths.mean() {
        options.average_length = average;
    }
    Ok(Arc::new(Lexical::new(options)?))
}

/// Collects encoded or ready vectors, their terms and ids, and builds the index.
pub struct Indexing {
    builder: IndexBuilder,
    extras: Extras,
    vocabulary: Vocabulary,
    ids: Vec<String>,
    seen: HashSet<String>,
}

impl Indexing {
    /// Starts an index that spills into `folder`.
    pub fn new(options: IndexOptions, folder: &Path) -> anyhow::Result<Self> {
        let builder = IndexBuilder::new(options, folder)?;
        let (extras, vocabulary) = (Extras::default(), Vocabulary::new());
        Ok(Self {
            builder,
            extras,
            vocabulary,
            ids: Vec::new(),
            seen: HashSet::new(),
        })
    }

    /// Adds a document by its token weights; its id must be new.
    pub fn add_tokens(&mut self, id: String, tokens: Vec<(String, f32)>) -> anyhow::Result<()> {
        if !self.seen.insert(id.clone()) {
            bail!("document {id:?} comes twice: ids must differ");
        }
        let mut pairs = Vec::with_capacity(tokens.len());
        for (token, weight) in tokens {
            pairs.push((self.vocabulary.intern(&token)?, weight));
        }
        let vector = SparseVector::from_pairs(pairs).with_context(|| format!("document {id:?}"))?;
        self.builder.add(&vector).with_context(|| format!("document {id:?}"))?;
        self.ids.push(id);
        Ok(())
    }

    /// Adds a document by a vector of numbered terms; such an index has no vocabulary.
    pub fn add_vector(&mut self, vector: &SparseVector) -> anyhow::Result<()> {
        let id = self.builder.add(vector)?;
        self.ids.push(id.to_string());
        Ok(())
    }

    /// Notes the model that made the vectors.
    pub fn set_model(&mut self, encoder: &dyn Encoder) -> anyhow::Result<()> {
        let model = serde_json::to_vec(&StoredModel::of(encoder))?;
        self.extras.sections.push((MODEL_SECTION.to_owned(), model));
        Ok(())
    }

    /// Writes the index to `path`.
    pub fn finish(mut self, path: &Path, quiet: bool) -> anyhow::Result<BuildReport> {
        let progress = Progress::new(
            "indexed",
            "documents",
            Extent::Records(self.builder.num_docs().into()),
            quiet,
        );
        if !self.vocabulary.is_empty() {
            self.extras.vocabulary = Some(self.vocabulary);
        }
        progress.add(self.ids.len());
        self.extras.external_ids = Some(self.ids);
        let report = self.builder.finish(&self.extras, path)?;
        progress.finish();
        Ok(report)
    }
}
