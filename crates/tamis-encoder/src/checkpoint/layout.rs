//! Directory layouts: which files make the document side and the query side of a model.
//!
//! - Plain Hugging Face: everything in one directory; an `idf.json` or `query_token_weights.txt` beside it makes queries
//!   inference-free (OpenSearch).
//! - sentence-transformers: `modules.json` lists a transformer and its SpladePooling; a SparseStaticEmbedding behind
//!   them multiplies the weights of the text's own tokens.
//! - sentence-transformers router: one Router module, whose `router_config.json` gives queries and documents modules
//!   of their own; a SparseStaticEmbedding on the query side makes queries inference-free.
//! - Two encoders: a directory beside another ([`super::pair`]), the LSR framework's dual encoder ([`super::lsr`]).
//! - The query side of OpenSearch's ml-commons: a tokenizer and an `idf.json`.

use super::config::ModelConfig;
use super::json::JsonFile;
use super::lsr;
use super::pair;
use super::policy::{SideOptions, SpecialTokens};
use crate::Error;
use crate::transformer::{Pooling, SpladeActivation};
use serde_json::Value;
use std::path::{Component, Path, PathBuf};

/// One side of a model, as files.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Side {
    /// A transformer with a head.
    Transformer(TransformerFiles),
    /// A weight per token of the vocabulary.
    Table(TableFiles),
    /// A tokenizer alone, whose tokens weigh the same.
    Binary(BinaryFiles),
    /// Not in this directory, which is named.
    Absent(PathBuf),
}

/// Where a transformer lies and what its other files say.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TransformerFiles {
    pub(super) dir: PathBuf,
    /// The directory of the tokenizer.
    pub(super) tokenizer: PathBuf,
    /// What says how large it is.
    pub(super) config: Configuration,
    /// What pooling module or configuration say.
    pub(super) found: SideOptions,
    /// The file that says so.
    pub(super) settings: PathBuf,
    /// A SparseStaticEmbedding behind the pooling.
    pub(super) multiplier: Option<TableFiles>,
}

/// Where the sizes of a transformer stand.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Configuration {
    File(PathBuf),
    /// The base model that the checkpoint names and does not hold, as published.
    Published {
        path: PathBuf,
        text: &'static str,
    },
}

/// Where a query table lies.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TableFiles {
    /// Holds the tokenizer, and the weights as `model.safetensors` where `list` is `None`.
    pub(super) dir: PathBuf,
    /// A file of token to weight: JSON, or a token, a tab and its weight in each line (`.txt`).
    pub(super) list: Option<PathBuf>,
    /// The weight of tokens that the list leaves out.
    pub(super) default_weight: f32,
}

/// A side that needs a tokenizer alone.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct BinaryFiles {
    /// The directory of the tokenizer.
    pub(super) tokenizer: PathBuf,
    /// What its configuration says.
    pub(super) found: SideOptions,
    /// The file that says so.
    pub(super) settings: PathBuf,
}

/// Both sides of a model.
#[derive(Clone, Debug)]
pub(super) struct Sides {
    pub(super) document: Side,
    /// Equal to `document` in symmetric models.
    pub(super) query: Side,
    /// What the library that writes this layout does with special tokens.
    pub(super) special_tokens: SpecialTokens,
    pub(super) document_prompt: String,
    pub(super) query_prompt: String,
}

impl TransformerFiles {
    /// A transformer with everything in `dir`.
    pub(super) fn in_dir(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            tokenizer: dir.to_owned(),
            config: Configuration::File(dir.join("config.json")),
            found: SideOptions::default(),
            settings: dir.join("tamis.json"),
            multiplier: None,
        }
    }

    /// Reads and checks its sizes.
    pub(super) fn model_config(&self) -> Result<ModelConfig, Error> {
        match &self.config {
            Configuration::File(path) => ModelConfig::read(path),
            Configuration::Published { path, text } => {
                ModelConfig::of(JsonFile::parse(path, text.as_bytes().to_vec())?)
            }
        }
    }
}

const SUPPORTED: &str = "Transformer or MLMTransformer followed by SpladePooling (and SparseStaticEmbedding), SparseStaticEmbedding for \
     queries, Router over these";

/// Finds the sides of the model in `dir`; `query_model` names the directory of another query encoder beside it.
pub(super) fn sides(dir: &Path, query_model: Option<&str>) -> Result<Sides, Error> {
    if let Some(name) = query_model {
        return pair::beside(dir, name);
    }
    let mut sides = match pair::inside(dir)? {
        Some(sides) => sides,
        None => one_directory(dir)?,
    };
    if matches!((&sides.document, &sides.query), (Side::Table(_), Side::Table(_))) {
        sides.document = Side::Absent(dir.to_owned());
    }
    Ok(sides)
}

/// The sides of a model that is not made of two directories.
pub(super) fn one_directory(dir: &Path) -> Result<Sides, Error> {
    if let Some(sides) = lsr::sides(dir)? {
        return Ok(sides);
    }
    let Some(modules) = JsonFile::read_if_present(&dir.join("modules.json"))? else {
        return plain(dir);
    };
    let list = modules_of(&modules, dir)?;
    let (document, query) = match list.as_slice() {
        [(class, path)] if class == "Router" => routes(dir, path)?,
        list => {
            let side = side(dir, &modules.path, list)?;
            (side.clone(), side)
        }
    };
    if let Side::Table(_) = document {
        let found = "a query table as document side".to_owned();
        return Err(Error::Unsupported {
            path: modules.path,
            found,
            supported: SUPPORTED,
        });
    }
    let [document_prompt, query_prompt] = prompts(dir)?;
    Ok(Sides {
        document,
        query,
        special_tokens: SpecialTokens::Keep,
        document_prompt,
        query_prompt,
    })
}

fn plain(dir: &Path) -> Result<Sides, Error> {
    let table = ["idf.json", "query_token_weights.txt"].map(|name| dir.join(name));
    let table = table.into_iter().find(|path| path.exists()).map(|list| TableFiles {
        dir: dir.to_owned(),
        list: Some(list),
        default_weight: 1.0,
    });
    let has_model = ["config.json", "model.safetensors"]
        .iter()
        .any(|name| dir.join(name).exists());
    if !has_model && table.is_none() {
        refuse_torch_script(dir)?;
    }
    let document = match &table {
        // ml-commons packs the query side by itself.
        Some(_) if !has_model => Side::Absent(dir.to_owned()),
        _ => Side::Transformer(TransformerFiles::in_dir(dir)),
    };
    let (query, special_tokens) = match table {
        Some(table) => (Side::Table(table), SpecialTokens::ZeroColumns),
        None => (document.clone(), SpecialTokens::Keep),
    };
    let (document_prompt, query_prompt) = Default::default();
    Ok(Sides {
        document,
        query,
        special_tokens,
        document_prompt,
        query_prompt,
    })
}

/// TorchScript is a program, and none is run here.
fn refuse_torch_script(dir: &Path) -> Result<(), Error> {
    let entries = std::fs::read_dir(dir).map_err(|source| Error::Read {
        path: dir.to_owned(),
        source,
    })?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    match paths
        .into_iter()
        .find(|path| path.extension().is_some_and(|extension| extension == "pt"))
    {
        None => Ok(()),
        Some(path) => Err(Error::Unsupported {
            path,
            found: "TorchScript (as packed for OpenSearch's ml-commons)".to_owned(),
            supported: "the same model's directory with config.json and model.safetensors, and ml-commons' query side \
                        (tokenizer.json and idf.json)",
        }),
    }
}

/// Class (last part of the dotted type) and directory of each module.
pub(super) fn modules_of(file: &JsonFile, dir: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    let wrong = |found: &Value| Error::field(&file.path, "(top level)", "a list of {\"type\", \"path\"}", found);
    let list = file.value.as_array().ok_or_else(|| wrong(&file.value))?;
    let module = |entry: &Value| {
        let class = entry.get("type").and_then(Value::as_str).ok_or_else(|| wrong(entry))?;
        let path = entry.get("path").and_then(Value::as_str).ok_or_else(|| wrong(entry))?;
        Ok((last_part(class), inside(dir, path, &file.path)?))
    };
    list.iter().map(module).collect()
}

fn last_part(class: &str) -> String {
    class.rsplit('.').next().unwrap_or(class).to_owned()
}

/// `dir/path`, unless `path` leads out of `dir`.
fn inside(dir: &Path, path: &str, file: &Path) -> Result<PathBuf, Error> {
    let within = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if Path::new(path).components().all(within) {
        Ok(dir.join(path))
    } else {
        Err(Error::field(
            file,
            "path",
            "a path inside the checkpoint directory",
            format!("{path:?}"),
        ))
    }
}

/// One side from its modules in order.
fn side(root: &Path, file: &Path, modules: &[(String, PathBuf)]) -> Result<Side, Error> {
    let classes: Vec<&str> = modules.iter().map(|(class, _)| class.as_str()).collect();
    match classes.as_slice() {
        ["Transformer" | "MLMTransformer", "SpladePooling"] => transformer(&modules[0].1, &modules[1].1, None),
        [
            "Transformer" | "MLMTransformer",
            "SpladePooling",
            "SparseStaticEmbedding",
        ] => {
            let multiplier = table(root, &modules[2].1)?;
            transformer(&modules[0].1, &modules[1].1, Some(multiplier))
        }
        ["SparseStaticEmbedding"] => table(root, &modules[0].1).map(Side::Table),
        other => {
            let found = if other.is_empty() {
                "an empty list of modules".to_owned()
            } else {
                other.join(" + ")
            };
            Err(Error::Unsupported {
                path: file.to_owned(),
                found,
                supported: SUPPORTED,
            })
        }
    }
}

fn transformer(dir: &Path, pooling_dir: &Path, multiplier: Option<TableFiles>) -> Result<Side, Error> {
    let file = JsonFile::read(
        &pooling_dir.join("config.json"),
        "the SpladePooling module keeps its settings there",
    )?;
    let pooling = match file.text("pooling_strategy")? {
        None => None,
        Some("max") => Some(Pooling::Max),
        Some("sum") => Some(Pooling::Sum),
        Some(other) => {
            return Err(Error::field(
                &file.path,
                "pooling_strategy",
                "\"max\" or \"sum\"",
                format!("{other:?}"),
            ));
        }
    };
    let activation = match file.text("activation_function")? {
        None => None,
        Some("relu") => Some(SpladeActivation::Relu),
        Some("log1p_relu") => Some(SpladeActivation::Log1pRelu),
        Some(other) => {
            let expected = "\"relu\" or \"log1p_relu\"";
            return Err(Error::field(
                &file.path,
                "activation_function",
                expected,
                format!("{other:?}"),
            ));
        }
    };
    Ok(Side::Transformer(TransformerFiles {
        found: SideOptions {
            pooling,
            activation,
            ..SideOptions::default()
        },
        settings: file.path,
        multiplier,
        ..TransformerFiles::in_dir(dir)
    }))
}

fn table(root: &Path, dir: &Path) -> Result<TableFiles, Error> {
    let mut list = None;
    if !dir.join("model.safetensors").exists() {
        // The stored path may be that of another machine or of a hub: its last part, here.
        let config = JsonFile::read_if_present(&dir.join("config.json"))?;
        let stored = config.as_ref().map(|config| config.text("path")).transpose()?.flatten();
        let name = stored
            .and_then(|path| Path::new(path).file_name())
            .filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "json"));
        let name = name.map_or_else(|| PathBuf::from("idf.json"), PathBuf::from);
        list = [dir.join(&name), root.join(&name)]
            .into_iter()
            .find(|path| path.exists());
        if list.is_none() {
            let remedy = "a SparseStaticEmbedding keeps its weights there, or in an idf.json";
            return Err(Error::MissingFile {
                path: dir.join("model.safetensors"),
                remedy,
            });
        }
    }
    let has_tokenizer = ["tokenizer.json", "vocab.txt"]
        .iter()
        .any(|name| dir.join(name).exists());
    let dir = if has_tokenizer || list.is_none() { dir } else { root };
    Ok(TableFiles {
        dir: dir.to_owned(),
        list,
        default_weight: 0.0,
    })
}

/// Document and query side of a Router.
fn routes(root: &Path, dir: &Path) -> Result<(Side, Side), Error> {
    let name = if dir.join("router_config.json").exists() {
        "router_config.json"
    } else {
        "config.json"
    };
    let file = JsonFile::read(&dir.join(name), "a Router keeps its routes there")?;
    let types = file.required("types", "an object of module to class")?;
    let structure = file.required("structure", "an object of route to modules")?;
    let route = |names: &[&str]| {
        let list = names
            .iter()
            .find_map(|name| structure.get(name))
            .and_then(Value::as_array);
        let field = format!("structure.{}", names[0]);
        let list = list.ok_or_else(|| Error::field(&file.path, &field, "a list of modules", "nothing"))?;
        let module = |id: &Value| {
            let id = id
                .as_str()
                .ok_or_else(|| Error::field(&file.path, &field, "texts", id))?;
            let class = types.get(id).and_then(Value::as_str);
            let class =
                class.ok_or_else(|| Error::field(&file.path, "types", format!("a class for {id:?}"), "none"))?;
            Ok((last_part(class), inside(dir, id, &file.path)?))
        };
        let modules = list.iter().map(module).collect::<Result<Vec<_>, Error>>()?;
        side(root, &file.path, &modules)
    };
    Ok((route(&["document", "passage", "corpus"])?, route(&["query"])?))
}

/// The prompts that sentence-transformers puts before documents and queries.
pub(super) fn prompts(dir: &Path) -> Result<[String; 2], Error> {
    let Some(file) = JsonFile::read_if_present(&dir.join("config_sentence_transformers.json"))? else {
        return Ok(Default::default());
    };
    let prompt = |names: &[&str]| {
        let stored = file.get("prompts");
        let default = file.get("default_prompt_name").and_then(Value::as_str);
        let of = |name: &str| stored.and_then(|prompts| prompts.get(name));
        // A prompt that is there but null keeps the default one away.
        let value = names.iter().find_map(|name| of(name)).or_else(|| of(default?));
        match value {
            None | Some(Value::Null) => Ok(String::new()),
            Some(Value::String(prompt)) => Ok(prompt.clone()),
            Some(other) => Err(Error::field(&file.path, "prompts", "an object of texts", other)),
        }
    };
    Ok([prompt(&["document", "passage", "corpus"])?, prompt(&["query"])?])
}
