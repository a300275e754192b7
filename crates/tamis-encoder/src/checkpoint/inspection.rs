//! What was found in a checkpoint directory, for people.

use super::json::JsonFile;
use super::layout::{self, Side};
use super::weights::WeightsFile;
use super::{Checkpoint, Encoding};
use crate::Error;
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
    /// The file that says so, or why it is so.
    pub source: String,
}

/// The source of settings that several files and defaults may decide.
const IN_FORCE: &str = "in force";

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
    /// What was found: layout, architecture, sizes, weights, tokenizer, and every setting in force, for documents and
    /// queries. Reads small files and headers again.
    ///
    /// # Errors
    /// When a file has changed for the worse since the checkpoint was opened.
    pub fn findings(&self) -> Result<Vec<Finding>, Error> {
        let sides = layout::sides(&self.path)?;
        let mut findings = Findings {
            root: &self.path,
            list: Vec::new(),
        };
        let (layout, source) = findings.layout();
        findings.add("layout", layout, source);
        findings.side("document", &sides.document, &self.document)?;
        if sides.query == sides.document {
            findings.add("query.model", "that of documents", "one transformer for both");
            findings.settings("query", &self.query);
        } else {
            findings.side("query", &sides.query, &self.query)?;
        }
        let tamis = self.path.join("tamis.json");
        if tamis.exists() {
            let found = JsonFile::read(&tamis, "it was there just now")?.value;
            findings.add("overrides", found, "tamis.json");
        }
        Ok(findings.list)
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

    /// The path of a file as the user knows it.
    fn name(&self, path: &Path) -> String {
        path.strip_prefix(self.root).unwrap_or(path).display().to_string()
    }

    fn layout(&self) -> (&'static str, &'static str) {
        let there = |name: &str| self.root.join(name).exists();
        match (there("modules.json"), there("router_config.json"), there("idf.json")) {
            (true, true, _) => ("sentence-transformers router", "router_config.json"),
            (true, false, _) => ("sentence-transformers", "modules.json"),
            (false, _, true) => ("plain with a query table", "idf.json"),
            (false, _, false) => ("plain", "no modules.json"),
        }
    }

    fn side(&mut self, side: &str, files: &Side, encoding: &Encoding) -> Result<(), Error> {
        match files {
            Side::Transformer(files) => self.transformer(side, &files.dir)?,
            Side::Table(files) => {
                let path = files
                    .json
                    .clone()
                    .unwrap_or_else(|| files.dir.join(super::WEIGHTS_NAME));
                let name = self.name(&path);
                self.add(format!("{side}.table"), encoding.model.tokenizer().num_ids(), name);
            }
        }
        let tokenizer = encoding.model.tokenizer();
        let source = self.name(&tokenizer.path);
        let found = json!({"ids": tokenizer.num_ids(), "special": tokenizer.special.len()});
        self.add(format!("{side}.tokenizer"), found, source);
        self.settings(side, encoding);
        Ok(())
    }

    fn transformer(&mut self, side: &str, dir: &Path) -> Result<(), Error> {
        let config = JsonFile::read(&dir.join("config.json"), "it was there just now")?;
        let source = self.name(&config.path);
        for key in ["architectures", "model_type"].into_iter().chain(SIZES) {
            if let Some(value) = config.get(key) {
                self.add(format!("{side}.{key}"), value.clone(), &source);
            }
        }
        let weights = WeightsFile::read(dir)?.summary();
        let source = match weights.files.as_slice() {
            [file] => self.name(file),
            files => format!("{} shards", files.len()),
        };
        self.add(format!("{side}.tensors"), weights.tensors, &source);
        self.add(format!("{side}.parameters"), json!(weights.parameters), &source);
        self.add(format!("{side}.bytes"), weights.bytes, &source);
        Ok(())
    }

    fn settings(&mut self, side: &str, encoding: &Encoding) {
        let Value::Object(settings) = encoding.description() else {
            return;
        };
        for (setting, value) in settings {
            self.add(format!("{side}.{setting}"), value, IN_FORCE);
        }
    }
}
