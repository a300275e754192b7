//! What a model begins as: the checkpoint itself, or a directory made of it that has the parts it lacks.
//!
//! New weights are drawn from a normal distribution of deviation .02, biases begin at 0 and norms at 1, as BERT began
//! (Devlin et al., 2019); the decoder of a new masked-language-model head is the word embeddings. A query encoder of its
//! own begins as a copy of the document encoder (Lassance and Clinchant, SIGIR 2022). The directory has the plain layout,
//! so whatever opens checkpoints opens it, and it is gone with the model.

use super::opening::untrainable;
use super::{StartOptions, TableStart};
use crate::Error;
use crate::InputKind;
use crate::checkpoint::dense_layout::{dense_files, is_dense};
use crate::checkpoint::heads;
use crate::checkpoint::json::read_bytes;
use crate::checkpoint::layout::{self, Side, TransformerFiles};
use crate::checkpoint::load::{self, NewTensor, NewValues};
use crate::checkpoint::policy::{CheckpointOptions, HeadKind, LongText};
use crate::checkpoint::settings::Decisions;
use crate::checkpoint::tokenizer::{TextTokenizer, TokenizerUse};
use crate::checkpoint::weights::WeightsFile;
use crate::convert::{StoredTensor, Target, write_tensors};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The directory that a model is opened from.
pub(super) struct Base {
    path: PathBuf,
    options: CheckpointOptions,
    /// Removed with the model, where the directory was made.
    _made: Option<TempDir>,
}

/// A transformer of the directory that is made.
struct Made<'a> {
    /// Inside the directory.
    folder: &'static str,
    files: &'a TransformerFiles,
    /// The heads that it must have.
    heads: Vec<HeadKind>,
    epic: bool,
}

impl Base {
    /// The checkpoint in `dir` as it is, or where it lacks a part that `options` call for, a copy that has it.
    ///
    /// # Errors
    /// When a part is missing that is not started, or the layout is of a kind to which nothing can be added.
    pub(super) fn ready(dir: &Path, options: &CheckpointOptions, start: &StartOptions) -> Result<Self, Error> {
        let path = dir.canonicalize().map_err(|source| Error::Read {
            path: dir.to_owned(),
            source,
        })?;
        let decisions = Decisions::read(&path, options)?;
        let dense = is_dense(&path)?;
        let [document, query] = match dense {
            true => {
                let side = Side::Transformer(TransformerFiles::in_dir(&dense_files(&path)?.dir));
                [side.clone(), side]
            }
            false => {
                let other = decisions.query_model.as_ref().map(|(name, _)| name.as_str());
                let sides = layout::sides(&path, other)?;
                [sides.document, sides.query]
            }
        };
        let Side::Transformer(document) = &document else {
            return Ok(Self::as_it_is(path, options));
        };
        let query = match &query {
            Side::Transformer(files) => Some(files),
            _ => None,
        };
        let plan = Plan::new((&decisions, start), (document, query), dense)?;
        if !plan.makes_anything && !dense {
            return Ok(Self::as_it_is(path, options));
        }
        let supported = dense || !path.join("modules.json").exists() && document.tokenizer == document.dir;
        if !supported {
            let found = "a directory that says of itself which parts it has".to_owned();
            return Err(untrainable(
                dir,
                "head",
                found,
                "all parts, or the plain layout, to which they can be added",
            ));
        }
        let made = plan.make(&path, start)?;
        Ok(Self {
            path: made.path().join(CHECKPOINT),
            options: CheckpointOptions {
                query_model: None,
                ..options.clone()
            },
            _made: Some(made),
        })
    }

    fn as_it_is(path: PathBuf, options: &CheckpointOptions) -> Self {
        Self {
            path,
            options: options.clone(),
            _made: None,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The caller's, as far as they still apply.
    pub(super) fn options(&self) -> &CheckpointOptions {
        &self.options
    }
}

/// Where sentence-transformers says how long texts may be.
pub(super) const LENGTHS: &str = "sentence_bert_config.json";

/// The name of the checkpoint in a scratch directory.
const CHECKPOINT: &str = "checkpoint";

/// What has to be made.
struct Plan<'a> {
    transformers: Vec<Made<'a>>,
    table: Option<&'a TableStart>,
    two_layers: bool,
    classifier: bool,
    makes_anything: bool,
}

impl<'a> Plan<'a> {
    fn new(
        (decisions, start): (&Decisions, &'a StartOptions),
        (document, query): (&'a TransformerFiles, Option<&'a TransformerFiles>),
        dense: bool,
    ) -> Result<Self, Error> {
        let preset = decisions.preset.as_ref().map(|(name, _)| name.as_str());
        let head_of = |kind, files: &TransformerFiles| {
            let told = decisions.head(kind).or(files.found.head);
            Ok::<_, Error>(match told {
                Some(head) => head,
                None if dense => HeadKind::Mlm,
                None => heads::detected(&WeightsFile::read(&files.dir)?.tensors()?).unwrap_or(HeadKind::Mlm),
            })
        };
        let made = |folder, files, head, epic| Made {
            folder,
            files,
            heads: vec![head],
            epic,
        };
        let epic = start.epic.unwrap_or(preset == Some("epic"));
        let document_head = head_of(InputKind::Document, document)?;
        let mut transformers = vec![made("", document, document_head, epic)];
        let mut table = None;
        let mut separate = false;
        if let Some(query) = query {
            match (decisions.head(InputKind::Query), &start.query_table) {
                (Some(HeadKind::Table), None) => {
                    let found = "no table".to_owned();
                    return Err(untrainable(
                        &query.dir,
                        "query.head",
                        found,
                        "an idf.json, or start.query_table",
                    ));
                }
                (Some(HeadKind::Table), Some(from)) => table = Some(from),
                (Some(HeadKind::Binary), _) => (),
                _ => {
                    let head = head_of(InputKind::Query, query)?;
                    separate = start.separate && query.dir == document.dir;
                    if separate || query.dir != document.dir {
                        transformers.push(made("query", query, head, false));
                    } else if !transformers[0].heads.contains(&head) {
                        transformers[0].heads.push(head);
                    }
                }
            }
        }
        let mut makes_anything = separate || table.is_some();
        for transformer in &transformers {
            makes_anything |= start.heads && transformer.lacks()?;
        }
        Ok(Self {
            transformers,
            table,
            two_layers: start.two_layers.unwrap_or(preset == Some("deepimpact")),
            classifier: preset == Some("deepct"),
            makes_anything,
        })
    }

    /// Makes the directory.
    fn make(&self, root: &Path, start: &StartOptions) -> Result<TempDir, Error> {
        let scratch = tempfile::tempdir().map_err(|source| Error::Write {
            path: std::env::temp_dir(),
            source,
        })?;
        let target = Target::create(&scratch.path().join(CHECKPOINT), root)?;
        for transformer in &self.transformers {
            self.write(transformer, &target, start)?;
        }
        if let Some(table) = self.table {
            let tokens = match table {
                TableStart::File(path) => read_bytes(path, "the weights that a query table begins with")?,
                TableStart::Ones => ones(&self.transformers[0].files.tokenizer)?,
            };
            target.write_bytes(Path::new("idf.json"), &tokens)?;
        }
        let settings = root.join("tamis.json");
        if settings.exists() {
            let mut value = parsed(&settings)?;
            if let Some(fields) = value.as_object_mut() {
                fields.remove("query_model");
            }
            target.write_bytes(Path::new("tamis.json"), value.to_string().as_bytes())?;
        }
        target.finish()?;
        Ok(scratch)
    }

    /// Writes one transformer with everything that it must have.
    fn write(&self, made: &Made<'_>, target: &Target, start: &StartOptions) -> Result<(), Error> {
        let folder = Path::new(made.folder);
        for name in plain_files(&made.files.dir)? {
            let from = made.files.dir.join(&name);
            if name == LENGTHS {
                // What else it says is of the module that the transformer was in.
                let value = parsed(&from)?;
                let kept = ["max_seq_length", "do_lower_case"]
                    .map(|field| Some((field.to_owned(), value.get(field)?.clone())));
                let kept: Map<String, Value> = kept.into_iter().flatten().collect();
                target.write_json(&folder.join(&name).to_string_lossy(), &Value::Object(kept))?;
            } else {
                target.copy(&from, &folder.join(&name))?;
            }
        }
        let config = made.files.model_config()?;
        let file = WeightsFile::read(&made.files.dir)?;
        let weights = file.tensors()?;
        let mut new = Vec::new();
        let needs_mlm = made.heads.contains(&HeadKind::Mlm) && !heads::has_mlm(&weights);
        if needs_mlm {
            new.extend(load::new_mlm_head(&config, &weights));
        }
        if made.needs_token() && heads::has_token(&weights).is_none() {
            new.extend(self.token_head(made, config.width));
        }
        if made.epic && heads::epic_layers(&weights, "term_importance", config.width)?.is_none() {
            new.extend(
                ["term_importance", "doc_quality"]
                    .map(|name| linear(&format!("{name}.linear"), 1, config.width))
                    .into_iter()
                    .flatten(),
            );
        }
        let mut value: Value = serde_json::from_slice(&config.bytes).map_err(|source| Error::Json {
            path: made.files.dir.join("config.json"),
            source,
        })?;
        if let Some(fields) = value.as_object_mut().filter(|_| needs_mlm) {
            fields.insert("architectures".to_owned(), json!([config.masked_lm()]));
            fields.insert("tie_word_embeddings".to_owned(), json!(true));
        }
        target.write_bytes(&folder.join("config.json"), format!("{value:#}\n").as_bytes())?;
        let prefix = load::missing_prefix(&config, &weights)
            .filter(|_| needs_mlm)
            .unwrap_or("");
        let known = |name: &str| heads_of_no_backbone(name);
        let mut tensors = Vec::new();
        for name in file.names() {
            if needs_mlm && name.contains("pooler.") {
                // Of a head that stands beside the one that is made, and that no model here has.
                continue;
            }
            let (dtype, shape, bytes) = file.stored(&name)?;
            let name = if known(&name) { name } else { format!("{prefix}{name}") };
            tensors.push(StoredTensor {
                name,
                dtype,
                shape,
                bytes,
            });
        }
        tensors.extend(new.iter().map(|tensor| begun(tensor, start)));
        let path = folder.join(crate::checkpoint::WEIGHTS_NAME);
        target.write_bytes(&path, &write_tensors(&path, &tensors)?)
    }

    fn token_head(&self, made: &Made<'_>, width: usize) -> Vec<NewTensor> {
        if self.two_layers {
            let layers = [
                linear("impact_score_encoder.0", width, width),
                linear("impact_score_encoder.3", 1, width),
            ];
            return layers.into_iter().flatten().collect();
        }
        let name = match () {
            () if self.classifier => "classifier",
            // Beside a masked-language-model head uniCOIL's name would stand for the head that was trained.
            () if made.heads.contains(&HeadKind::Mlm) => "linear",
            () => "tok_proj",
        };
        linear(name, 1, width)
    }
}

impl Made<'_> {
    fn needs_token(&self) -> bool {
        self.heads
            .iter()
            .any(|head| matches!(head, HeadKind::Token | HeadKind::Static))
    }

    /// Whether a part is missing.
    fn lacks(&self) -> Result<bool, Error> {
        let config = self.files.model_config()?;
        let file = WeightsFile::read(&self.files.dir)?;
        let weights = file.tensors()?;
        let mlm = self.heads.contains(&HeadKind::Mlm) && !heads::has_mlm(&weights);
        let token = self.needs_token() && heads::has_token(&weights).is_none();
        let epic = self.epic && heads::epic_layers(&weights, "term_importance", config.width)?.is_none();
        Ok(mlm || token || epic)
    }
}

/// Whether a tensor is of a head that carries no prefix of the backbone.
fn heads_of_no_backbone(name: &str) -> bool {
    const PARTS: [&str; 11] = [
        "cls",
        "vocab_transform",
        "vocab_layer_norm",
        "vocab_projector",
        "lm_head",
        "head",
        "decoder",
        "tok_proj",
        "impact_score_encoder",
        "linear",
        "classifier",
    ];
    let first = name.split('.').next().unwrap_or(name);
    PARTS.contains(&first) || ["term_importance", "doc_quality", "bias"].contains(&first)
}

fn linear(name: &str, outputs: usize, width: usize) -> Vec<NewTensor> {
    let tensor = |part: &str, shape, start| NewTensor {
        name: format!("{name}.{part}"),
        shape,
        start,
    };
    vec![
        tensor("weight", vec![outputs, width], NewValues::Normal),
        tensor("bias", vec![outputs], NewValues::Zeros),
    ]
}

/// A new tensor with its values.
fn begun(tensor: &NewTensor, start: &StartOptions) -> StoredTensor {
    let len: usize = tensor.shape.iter().product();
    let values: Vec<f32> = match tensor.start {
        NewValues::Zeros => vec![0.0; len],
        NewValues::Ones => vec![1.0; len],
        NewValues::Normal => normal(&tensor.name, start.seed)
            .take(len)
            .map(|x| x * start.deviation)
            .collect(),
    };
    StoredTensor::single_precision(&tensor.name, &tensor.shape, &values)
}

/// Standard normal numbers that depend on the seed and the name alone (Box and Muller, 1958).
fn normal(name: &str, seed: u64) -> impl Iterator<Item = f32> {
    let hash = blake3::hash(format!("{seed} {name}").as_bytes());
    let mut reader = blake3::Hasher::new_keyed(hash.as_bytes()).finalize_xof();
    std::iter::from_fn(move || {
        let mut bytes = [0; 16];
        reader.fill(&mut bytes);
        let (first, second) = bytes.split_at(8);
        // 53 bits, above 0 and at most 1.
        #[expect(clippy::cast_precision_loss, reason = "53 bits")]
        let unit = |bytes: &[u8]| {
            let number = bytes.iter().fold(0u64, |number, &byte| number << 8 | u64::from(byte));
            ((number >> 11) + 1) as f64 / (1u64 << 53) as f64
        };
        let x = (-2.0 * unit(first).ln()).sqrt() * (std::f64::consts::TAU * unit(second)).cos();
        #[expect(clippy::cast_possible_truncation, reason = "rounded to the precision of weights")]
        let x = x as f32;
        Some(x)
    })
}

/// Every token of the vocabulary with the weight 1.
fn ones(dir: &Path) -> Result<Vec<u8>, Error> {
    let usage = TokenizerUse {
        with_special: false,
        max_length: None,
        positions: usize::MAX,
        long_text: LongText::Truncate,
        words: false,
    };
    let tokenizer = TextTokenizer::read(dir, usage)?;
    let ids = u32::try_from(tokenizer.num_ids()).unwrap_or(u32::MAX);
    let tokens = (0..ids).filter_map(|id| tokenizer.token(id));
    let table: Map<String, Value> = tokens.map(|token| (token, json!(1.0))).collect();
    Ok(Value::Object(table).to_string().into_bytes())
}

fn parsed(path: &Path) -> Result<Value, Error> {
    serde_json::from_slice(&read_bytes(path, "it was there a moment ago")?).map_err(|source| Error::Json {
        path: path.to_owned(),
        source,
    })
}

/// The files of a transformer beside its weights and its sizes: tokenizer and lengths.
pub(super) fn plain_files(dir: &Path) -> Result<Vec<String>, Error> {
    let failed = |source| Error::Read {
        path: dir.to_owned(),
        source,
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let wanted = [
            "tokenizer.json",
            "tokenizer_config.json",
            "vocab.txt",
            "vocab.json",
            "merges.txt",
            "special_tokens_map.json",
            LENGTHS,
            "idf.json",
            "query_token_weights.txt",
        ];
        if wanted.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
