//! What was found in a checkpoint directory, for people.

use super::json::JsonFile;
use super::layout::{self, Configuration, Side, TableFiles, TransformerFiles};
use super::settings::{Setting, SettingSource};
use super::side::SideEncoder;
use super::tokenizer::TextTokenizer;
use super::weights::WeightsFile;
use super::{Checkpoint, DenseEncoder};
use crate::{Error, LiftedEncoder};
use serde::Serialize;
use serde_json::{Value, json};
use std::path::Path;

/// One thing that a checkpoint settles, and what settled it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// What is settled, as a path: `document.pooling`.
    pub setting: String,
    /// To what.
    pub value: Value,
    /// The file that says so, or who decided it.
    pub source: String,
}

/// Sizes in `config.json`, under the names of all families.
const SIZES: [&str; 12] = [
    "vocab_size",
    "hidden_size",
    "dim",
    "num_hidden_layers",
    "n_layers",
    "num_attention_heads",
    "n_heads",
    "intermediate_size",
    "hidden_dim",
    "max_position_embeddings",
    "type_vocab_size",
    "hidden_act",
];

impl Checkpoint {
    /// What was found: layout, architecture, sizes, weights, tokenizer, and every setting in force
    /// ([`Checkpoint::settings`]), for documents and queries. Reads small files and headers again.
    ///
    /// # Errors
    /// When a file has changed for the worse since the checkpoint was opened.
    pub fn findings(&self) -> Result<Vec<Finding>, Error> {
        let settings = self.settings();
        let query_model = settings.iter().find(|setting| setting.name == "query_model");
        let query_model = query_model.and_then(|setting| setting.value.as_str());
        let sides = layout::sides(&self.path, query_model)?;
        let mut findings = Findings {
            root: &self.path,
            list: Vec::new(),
        };
        let (layout, source) = findings.layout()?;
        findings.add("layout", layout, source);
        findings.side("document", &sides.document, &self.document)?;
        if sides.query == sides.document {
            findings.add("query.model", "that of documents", "one model for both");
        } else {
            findings.side("query", &sides.query, &self.query)?;
        }
        findings.settings(settings);
        Ok(findings.list)
    }
}

impl DenseEncoder {
    /// What was found: architecture, sizes, weights, tokenizer, and every setting in force. Reads small files and
    /// headers again.
    ///
    /// # Errors
    /// When a file has changed for the worse since the encoder was opened.
    pub fn findings(&self) -> Result<Vec<Finding>, Error> {
        let mut findings = Findings {
            root: self.path(),
            list: Vec::new(),
        };
        findings.add("layout", "dense sentence encoder", "modules.json");
        let dir = self.transformer_dir();
        findings.config("", &JsonFile::read(&dir.join("config.json"), THERE)?);
        findings.weights("", dir)?;
        findings.tokenizer("", self.tokenizer());
        let (pooling, normalised) = self.pooling();
        findings.add("pooling", json!(pooling), "its Pooling module");
        findings.add("normalised", normalised, "modules.json");
        findings.add("width", self.width(), "the transformer");
        findings.add("max_length", self.max_length(), "tokenizer and positions");
        for (name, prompt) in [
            ("document.prompt", self.prompts()[0]),
            ("query.prompt", self.prompts()[1]),
        ] {
            let source = match prompt.is_empty() {
                true => of_source(SettingSource::Default),
                false => "config_sentence_transformers.json",
            };
            findings.add(name, prompt, source);
        }
        Ok(findings.list)
    }
}

impl LiftedEncoder {
    /// What was found: the constants of the table, and what there is of the dense encoder. Reads small files and headers
    /// again.
    ///
    /// # Errors
    /// When a file has changed for the worse since the model was opened.
    pub fn findings(&self) -> Result<Vec<Finding>, Error> {
        let constants = serde_json::to_value(self.lift().config()).unwrap_or_default();
        let constants = constants.as_object().cloned().unwrap_or_default();
        let of_table = constants.into_iter().map(|(setting, value)| Finding {
            setting,
            value,
            source: "lifted.json".to_owned(),
        });
        let of_dense = self.dense().findings()?.into_iter().map(|finding| Finding {
            setting: format!("dense.{}", finding.setting),
            ..finding
        });
        let layout = Finding {
            setting: "layout".to_owned(),
            value: "lifted model".into(),
            source: "lifted.json".to_owned(),
        };
        Ok([layout].into_iter().chain(of_table).chain(of_dense).collect())
    }
}

/// Why a file that was read on opening is missed.
const THERE: &str = "it was there just now";

/// Who decided a setting, for people.
fn of_source(source: SettingSource) -> &'static str {
    match source {
        SettingSource::Caller => "options",
        SettingSource::File => "tamis.json",
        SettingSource::Preset => "preset",
        SettingSource::Directory => "the checkpoint's files",
        SettingSource::Default => "default",
    }
}

struct Findings<'a> {
    root: &'a Path,
    list: Vec<Finding>,
}

impl Findings<'_> {
    fn add(&mut self, setting: impl Into<String>, value: impl Into<Value>, source: impl Into<String>) {
        self.list.push(Finding {
            setting: setting.into(),
            value: value.into(),
            source: source.into(),
        });
    }

    fn settings(&mut self, settings: Vec<Setting>) {
        for Setting { name, value, source } in settings {
            self.add(name, value, of_source(source));
        }
    }

    /// The path of a file as the user knows it.
    fn name(&self, path: &Path) -> String {
        path.strip_prefix(self.root).unwrap_or(path).display().to_string()
    }

    fn layout(&self) -> Result<(&'static str, &'static str), Error> {
        let there = |name: &str| self.root.join(name).exists();
        if there("modules.json") {
            return Ok(match there("router_config.json") {
                true => ("sentence-transformers router", "router_config.json"),
                false => ("sentence-transformers", "modules.json"),
            });
        }
        let config = JsonFile::read_if_present(&self.root.join("config.json"))?;
        let model_type = config.as_ref().map(|config| config.text("model_type")).transpose()?;
        if model_type.flatten() == Some("DualEncoder") {
            return Ok(("dual encoder of the LSR framework", "config.json"));
        }
        let table = ["idf.json", "query_token_weights.txt"];
        Ok(match table.into_iter().find(|name| there(name)) {
            Some(table) => ("plain with a query table", table),
            None if config.is_none() && there("model_q") => ("two encoders", "model_q"),
            None if there("query/config.json") => ("two encoders", "query"),
            None => ("plain", "no modules.json"),
        })
    }

    fn side(&mut self, side: &str, files: &Side, encoder: &SideEncoder) -> Result<(), Error> {
        match files {
            Side::Transformer(files) => self.transformer(side, files)?,
            Side::Table(files) => self.table(side, files, &encoder.tokenizer),
            Side::Binary(files) => {
                let source = self.name(&files.settings);
                self.add(format!("{side}.model"), "every token weighs the same", source);
            }
            Side::Absent(path) => {
                let source = path.display().to_string();
                self.add(format!("{side}.model"), "none", source);
                return Ok(());
            }
        }
        self.tokenizer(side, &encoder.tokenizer);
        Ok(())
    }

    fn transformer(&mut self, side: &str, files: &TransformerFiles) -> Result<(), Error> {
        let config = match &files.config {
            Configuration::File(path) => JsonFile::read(path, THERE)?,
            Configuration::Published { path, text } => JsonFile::parse(path, text.as_bytes().to_vec())?,
        };
        self.config(side, &config);
        self.weights(side, &files.dir)?;
        if let Some(table) = &files.multiplier {
            let source = self.name(&table_path(table));
            self.add(format!("{side}.multiplier"), "a weight for each token", source);
        }
        Ok(())
    }

    fn config(&mut self, side: &str, config: &JsonFile) {
        let source = self.name(&config.path);
        for key in ["architectures", "model_type"].into_iter().chain(SIZES) {
            if let Some(value) = config.get(key) {
                self.add(of_side(side, key), value.clone(), &source);
            }
        }
    }

    fn weights(&mut self, side: &str, dir: &Path) -> Result<(), Error> {
        let weights = WeightsFile::read(dir)?.summary();
        let source = match weights.files.as_slice() {
            [file] => self.name(file),
            files => format!("{} shards", files.len()),
        };
        self.add(of_side(side, "tensors"), weights.tensors, &source);
        self.add(of_side(side, "parameters"), json!(weights.parameters), &source);
        self.add(of_side(side, "bytes"), weights.bytes, &source);
        Ok(())
    }

    fn table(&mut self, side: &str, files: &TableFiles, tokenizer: &TextTokenizer) {
        let source = self.name(&table_path(files));
        self.add(of_side(side, "table"), tokenizer.num_ids(), source);
    }

    fn tokenizer(&mut self, side: &str, tokenizer: &TextTokenizer) {
        let source = self.name(&tokenizer.path);
        let found = json!({"ids": tokenizer.num_ids(), "special": tokenizer.special.len()});
        self.add(of_side(side, "tokenizer"), found, source);
    }
}

/// `side.name`; of a model without sides the name alone.
fn of_side(side: &str, name: &str) -> String {
    match side {
        "" => name.to_owned(),
        side => format!("{side}.{name}"),
    }
}

/// Where the weights of a table stand.
fn table_path(files: &TableFiles) -> std::path::PathBuf {
    let list = files.list.clone();
    list.unwrap_or_else(|| files.dir.join(super::WEIGHTS_NAME))
}
