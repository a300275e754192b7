//! The layouts of other libraries, around what was trained.
//!
//! Written beside the model's own directory where the base has none: sentence-transformers' MLMTransformer and
//! SpladePooling, and its Router with a SparseStaticEmbedding for queries without a model. What those cannot say (counts
//! of tokens, pruning, lexical masks, heads of one number a token) is in `tamis.json` alone.

use super::TrainableModel;
use super::side::{Table, TrainableSide, Weigher, static_table};
use super::start::{LENGTHS, plain_files};
use super::writing::values;
use crate::checkpoint::WEIGHTS_NAME;
use crate::checkpoint::json::JsonFile;
use crate::checkpoint::policy::{HeadKind, Scatter, SideOptions, SpecialTokens, TermUnit};
use crate::convert::{StoredTensor, Target, write_tensors};
use crate::transformer::{Norm, Pooling, SpladeActivation};
use crate::{Error, InputKind};
use serde_json::{Value, json};
use std::path::Path;

/// The modules of sentence-transformers by the names that its versions share.
const TRANSFORMER: &str = "sentence_transformers.sparse_encoder.models.MLMTransformer";
const POOLING: &str = "sentence_transformers.sparse_encoder.models.SpladePooling";
const TABLE: &str = "sentence_transformers.sparse_encoder.models.SparseStaticEmbedding";
const ROUTER: &str = "sentence_transformers.models.Router";

const TABLE_FOLDER: &str = "query_0_SparseStaticEmbedding";
const TRANSFORMER_FOLDER: &str = "document_0_MLMTransformer";

impl TrainableModel {
    /// Writes the model as it stands to `dir`, which appears complete or not at all and takes the place of a directory of
    /// that name: the plain layout of Hugging Face and that of sentence-transformers where there is one for the model, or
    /// the layout that it was opened from; a `tamis.json` says every setting.
    ///
    /// Queries whose table was computed from word embeddings (Li-LSR) get it as a table.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn export(&self, dir: &Path) -> Result<(), Error> {
        let target = Target::replace(dir)?;
        self.save_into(&target)?;
        let plain = !self.base.path().join("modules.json").exists() && self.lies_at_the_root();
        let pooling = pooling(&self.document).filter(|_| plain);
        let Some(pooling) = pooling else {
            return target.finish();
        };
        let symmetric =
            self.transformers.len() == 1 && !self.query.is_table() && pooling_of(&self.query) == Some(pooling.clone());
        if symmetric {
            target.write_json("1_SpladePooling/config.json", &pooling)?;
            target.write_json(
                "modules.json",
                &modules(&[("", TRANSFORMER), ("1_SpladePooling", POOLING)]),
            )?;
            self.write_lengths(&target, Path::new(""))?;
        } else if let Some(table) = self.fixed_table()? {
            self.write_router(&target, &pooling, &table)?;
        } else {
            return target.finish();
        }
        target.write_json("config_sentence_transformers.json", &self.library_settings())?;
        target.finish()
    }

    fn lies_at_the_root(&self) -> bool {
        let document = match self.document.weigher {
            Weigher::Transformer(at) => Some(&self.transformers[at]),
            _ => None,
        };
        document.is_some_and(|transformer| {
            transformer.dir == self.base.path() && transformer.dir.join("config.json").exists()
        })
    }

    /// The weight of each token of a query, where each distinct one has a fixed weight.
    fn fixed_table(&self) -> Result<Option<Vec<f32>>, Error> {
        let rules = &self.query.rules;
        let settings = &rules.settings;
        let is_set =
            settings.scatter == Scatter::Max && settings.terms == TermUnit::Pieces && settings.expansion.is_none();
        if !is_set {
            return Ok(None);
        }
        let len = rules.tokenizer.num_ids();
        let mut table = match &self.query.weigher {
            Weigher::Transformer(_) => return Ok(None),
            Weigher::Table(Table::Learned(var)) => values(var.as_tensor())?,
            Weigher::Table(Table::Fixed(table)) => values(table)?,
            Weigher::Static(at) => values(&static_table(&self.transformers[*at].graph(false)?, rules)?)?,
            Weigher::Binary(_) => vec![1.0; len],
        };
        table.resize(len, 0.0);
        let scale = self.options(InputKind::Query)?.scale.unwrap_or(1.0);
        for (id, weight) in (0u32..).zip(&mut table) {
            let dropped = rules
                .tokenizer
                .token(id)
                .is_none_or(|name| settings.stop_words.drop(&name));
            *weight = if dropped || rules.has_no_column(id) {
                0.0
            } else {
                weight.max(0.0) * scale
            };
        }
        Ok(Some(table))
    }

    /// The directory of a Router: queries look up, documents go through the transformer, whose files lie in a folder of
    /// their own as well.
    fn write_router(&self, target: &Target, pooling: &Value, table: &[f32]) -> Result<(), Error> {
        let rules = &self.query.rules;
        let folder = Path::new(TABLE_FOLDER);
        let dir = rules.tokenizer.path.parent().unwrap_or(Path::new(""));
        for name in plain_files(dir)?
            .iter()
            .filter(|name| name.contains("token") || name.starts_with("vocab"))
        {
            target.copy(&dir.join(name), &folder.join(name))?;
        }
        target.write_json(&format!("{TABLE_FOLDER}/config.json"), &json!({"frozen": true}))?;
        let path = folder.join(WEIGHTS_NAME);
        let tensor = StoredTensor::single_precision("weight", &[table.len()], table);
        target.write_bytes(&path, &write_tensors(&path, &[tensor])?)?;
        target.write_json("document_1_SpladePooling/config.json", pooling)?;
        target.move_into(Path::new(TRANSFORMER_FOLDER), &|name| is_of_transformer(name))?;
        self.write_lengths(target, Path::new(TRANSFORMER_FOLDER))?;
        let router = json!({
            "types": {
                TABLE_FOLDER: TABLE,
                TRANSFORMER_FOLDER: TRANSFORMER,
                "document_1_SpladePooling": POOLING,
            },
            "structure": {
                "query": [TABLE_FOLDER],
                "document": [TRANSFORMER_FOLDER, "document_1_SpladePooling"],
            },
            "parameters": {"default_route": "document", "allow_empty_key": true, "route_mappings": {}},
        });
        target.write_json("router_config.json", &router)?;
        target.write_json("modules.json", &modules(&[("", ROUTER)]))?;
        // The table is what is looked up now, whatever gave it.
        let query = SideOptions {
            head: Some(HeadKind::Table),
            scale: Some(1.0),
            ..self.options(InputKind::Query)?
        };
        target.write_bytes(
            Path::new("tamis.json"),
            &self.settings(self.options(InputKind::Document)?, query)?,
        )
    }

    /// How long texts may be, for sentence-transformers.
    fn write_lengths(&self, target: &Target, folder: &Path) -> Result<(), Error> {
        let path = self.base.path().join(LENGTHS);
        let lower_case = match JsonFile::read_if_present(&path)? {
            Some(file) => file.flag("do_lower_case")?.unwrap_or(false),
            None => false,
        };
        let length = self.document.rules.tokenizer.max_length;
        let lengths = json!({"max_seq_length": length, "do_lower_case": lower_case});
        target.write_json(&folder.join(LENGTHS).to_string_lossy(), &lengths)
    }

    fn library_settings(&self) -> Value {
        json!({
            "model_type": "SparseEncoder",
            "prompts": {"query": self.query.rules.prompt, "document": self.document.rules.prompt},
            "default_prompt_name": null,
            "similarity_fn_name": "dot",
        })
    }
}

/// What SpladePooling is told, where it can say what documents are weighed by.
fn pooling(side: &TrainableSide) -> Option<Value> {
    let settings = &side.rules.settings;
    let said = settings.head == HeadKind::Mlm
        && matches!(
            settings.special_tokens,
            SpecialTokens::Keep | SpecialTokens::ZeroColumns | SpecialTokens::ZeroAdded
        );
    said.then(|| pooling_of(side)).flatten()
}

fn pooling_of(side: &TrainableSide) -> Option<Value> {
    let settings = &side.rules.settings;
    let strategy = match settings.pooling {
        Pooling::Max => "max",
        Pooling::Sum => "sum",
        Pooling::Cls => return None,
    };
    let activation = match (settings.weighting.activation, settings.weighting.norm) {
        (SpladeActivation::Relu, Norm::Log1p) => "relu",
        (SpladeActivation::Relu | SpladeActivation::Log1pRelu, Norm::Log1pLog1p) => "log1p_relu",
        _ => return None,
    };
    (settings.head == HeadKind::Mlm).then(
        || json!({"pooling_strategy": strategy, "activation_function": activation, "word_embedding_dimension": null}),
    )
}

fn modules(list: &[(&str, &str)]) -> Value {
    let module = |(at, (path, class)): (usize, &(&str, &str))| json!({"idx": at, "name": at.to_string(), "path": path, "type": class});
    list.iter().enumerate().map(module).collect()
}

/// Whether a file at the root is the transformer's, which its folder has.
fn is_of_transformer(name: &str) -> bool {
    let parts = [
        "config.json",
        LENGTHS,
        WEIGHTS_NAME,
        "special_tokens_map.json",
        "merges.txt",
    ];
    parts.contains(&name) || name.starts_with("tokenizer") || name.starts_with("vocab")
}
