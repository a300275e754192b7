//! Directory layouts: which files make the document side and the query side of a model.
//!
//! - Plain Hugging Face: everything in one directory; an `idf.json` beside it makes queries inference-free.
//! - sentence-transformers: `modules.json` lists a transformer and its SpladePooling.
//! - sentence-transformers router: one Router module, whose `router_config.json` gives queries and documents modules
//!   of their own; a SparseStaticEmbedding on the query side makes queries inference-free.

use super::json::JsonFile;
use super::policy::SpecialTokens;
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
}

/// Where a transformer lies and what its pooling module says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TransformerFiles {
    pub(super) dir: PathBuf,
    pub(super) pooling: Pooling,
    pub(super) activation: SpladeActivation,
}

/// Where a query table lies.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TableFiles {
    /// Holds the tokenizer, and the weights as `model.safetensors` where `json` is `None`.
    pub(super) dir: PathBuf,
    /// A file of token to weight.
    pub(super) json: Option<PathBuf>,
    /// The weight of tokens that the JSON file leaves out.
    pub(super) default_weight: f32,
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

const SUPPORTED: &str =
    "Transformer or MLMTransformer followed by SpladePooling, SparseStaticEmbedding for queries, Router over these";

/// Finds the sides of the model in `dir`.
pub(super) fn sides(dir: &Path) -> Result<Sides, Error> {
    let Some(modules) = JsonFile::read_if_present(&dir.join("modules.json"))? else {
        return Ok(plain(dir));
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

fn plain(dir: &Path) -> Sides {
    let document = Side::Transformer(TransformerFiles {
        dir: dir.to_owned(),
        pooling: Pooling::Max,
        activation: SpladeActivation::Relu,
    });
    let idf = dir.join("idf.json");
    let (query, special_tokens) = if idf.exists() {
        let table = TableFiles {
            dir: dir.to_owned(),
            json: Some(idf),
            default_weight: 1.0,
        };
        (Side::Table(table), SpecialTokens::ZeroColumns)
    } else {
        (document.clone(), SpecialTokens::Keep)
    };
    let (document_prompt, query_prompt) = Default::default();
    Sides {
        document,
        query,
        special_tokens,
        document_prompt,
        query_prompt,
    }
}

/// Class (last part of the dotted type) and directory of each module.
fn modules_of(file: &JsonFile, dir: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
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
        ["Transformer" | "MLMTransformer", "SpladePooling"] => transformer(&modules[0].1, &modules[1].1),
        ["SparseStaticEmbedding"] => table(root, &modules[0].1),
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

fn transformer(dir: &Path, pooling_dir: &Path) -> Result<Side, Error> {
    let file = JsonFile::read(
        &pooling_dir.join("config.json"),
        "the SpladePooling module keeps its settings there",
    )?;
    let pooling = match file.text("pooling_strategy")? {
        None | Some("max") => Pooling::Max,
        Some("sum") => Pooling::Sum,
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
        None | Some("relu") => SpladeActivation::Relu,
        Some("log1p_relu") => SpladeActivation::Log1pRelu,
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
        dir: dir.to_owned(),
        pooling,
        activation,
    }))
}

fn table(root: &Path, dir: &Path) -> Result<Side, Error> {
    let mut json = None;
    if !dir.join("model.safetensors").exists() {
        // The stored path may be that of another machine or of a hub: its last part, here.
        let config = JsonFile::read_if_present(&dir.join("config.json"))?;
        let stored = config.as_ref().map(|config| config.text("path")).transpose()?.flatten();
        let name = stored
            .and_then(|path| Path::new(path).file_name())
            .filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "json"));
        let name = name.map_or_else(|| PathBuf::from("idf.json"), PathBuf::from);
        json = [dir.join(&name), root.join(&name)]
            .into_iter()
            .find(|path| path.exists());
        if json.is_none() {
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
    let dir = if has_tokenizer || json.is_none() { dir } else { root };
    Ok(Side::Table(TableFiles {
        dir: dir.to_owned(),
        json,
        default_weight: 0.0,
    }))
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
fn prompts(dir: &Path) -> Result<[String; 2], Error> {
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
