//! Writing a model as it stands: the directory it was opened from, with the values that were learned.
//!
//! Every tensor keeps its name. Learned ones are written in single precision, others as they were; what the checkpoint
//! stores twice under two names is learned once and written twice. A `tamis.json` says every setting in force, so that
//! the encoder gives the vectors that were trained whatever layout or preset says by itself.

use super::side::{Table, TrainableSide, Weigher};
use super::transformer::TrainableTransformer;
use super::{StepTexts, TrainableModel};
use crate::checkpoint::layout::Side;
use crate::checkpoint::policy::SideOptions;
use crate::checkpoint::{WEIGHTS_INDEX_NAME, WEIGHTS_NAME};
use crate::convert::{StoredTensor, Target, list, write_tensors};
use crate::{Error, InputKind};
use candle_core::{DType, Tensor, Var};
use safetensors::Dtype;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Files that say nothing of the model, or of its former weights alone.
const LEFT_OUT: [&str; 3] = ["README.md", "SHA256SUMS", "expected.json"];

/// Endings of weights that are written anew, or were never read.
const WEIGHTS: [&str; 7] = ["safetensors", "bin", "pt", "pth", "onnx", "h5", "msgpack"];

impl TrainableModel {
    /// Writes the model as it stands into `target`, as a directory of the layout that it was opened from.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub(crate) fn save_into(&self, target: &Target) -> Result<(), Error> {
        self.write_files(target)?;
        for transformer in &self.transformers {
            let path = self.place_of(&transformer.dir).join(WEIGHTS_NAME);
            target.write_bytes(&path, &write_tensors(&path, &tensors(transformer)?)?)?;
        }
        if let Weigher::Table(Table::Learned(table)) = &self.query.weigher {
            self.write_table(target, table)?;
        }
        let sides = [InputKind::Document, InputKind::Query].map(|kind| self.options(kind));
        let [document, query] = sides;
        target.write_bytes(Path::new("tamis.json"), &self.settings(document?, query?)?)
    }

    /// What `tamis.json` says: everything.
    pub(super) fn settings(&self, document: SideOptions, query: SideOptions) -> Result<Vec<u8>, Error> {
        let mut fields = Map::new();
        if let Some(preset) = &self.preset {
            fields.insert("preset".to_owned(), json!(preset));
        }
        if self.query_root.is_some() {
            let place = self.query_place();
            fields.insert("query_model".to_owned(), json!(place.to_string_lossy()));
        }
        fields.insert("document".to_owned(), json!(document));
        fields.insert("query".to_owned(), json!(query));
        Ok(format!("{:#}\n", Value::Object(fields)).into_bytes())
    }

    /// All settings of one side, as options.
    pub(super) fn options(&self, kind: InputKind) -> Result<SideOptions, Error> {
        let side = self.side(kind);
        let settings = &side.rules.settings;
        let scale = match &side.weigher {
            Weigher::Binary(Some(scale)) => scale.as_tensor().to_dtype(DType::F32)?.to_scalar::<f32>()?,
            _ => settings.scale,
        };
        let length = side.rules.tokenizer.max_length;
        Ok(SideOptions {
            head: Some(settings.head),
            pooling: Some(settings.pooling),
            activation: Some(settings.weighting.activation),
            norm: Some(settings.weighting.norm),
            special_tokens: Some(settings.special_tokens),
            max_length: (length != usize::MAX).then_some(length),
            scatter: Some(settings.scatter),
            terms: Some(settings.terms),
            cleaning: Some(settings.cleaning),
            stop_words: Some(settings.stop_words),
            expansion: settings.expansion,
            lexical: Some(settings.lexical),
            scale: Some(scale),
            min_weight: Some(settings.min_weight),
            prune_ratio: Some(settings.prune_ratio),
            top_k: settings.top_k,
            quantisation: settings.quantisation,
        })
    }

    /// Everything but weights and what is written anew.
    fn write_files(&self, target: &Target) -> Result<(), Error> {
        let root = self.base.path();
        let mut roots = vec![root];
        roots.extend(self.query_root.as_deref().filter(|query| !query.starts_with(root)));
        for from in roots {
            let mut files = Vec::new();
            list(from, Path::new(""), &mut files)?;
            for file in files {
                let whole = from.join(&file);
                if self.is_copied(&whole) {
                    target.copy(&whole, &self.place_of(&whole))?;
                }
            }
        }
        Ok(())
    }

    fn is_copied(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let dir = path.parent().unwrap_or(Path::new(""));
        let ends = |ending: &&str| path.extension().is_some_and(|extension| extension == *ending);
        let of_transformer = self.transformers.iter().any(|transformer| transformer.dir == dir);
        let weights = WEIGHTS.iter().any(ends) && (of_transformer || !ends(&"safetensors"));
        let learned_table = matches!(self.query.weigher, Weigher::Table(Table::Learned(_)))
            && matches!(&self.query_files, Side::Table(files) if files.list.as_deref() == Some(path));
        let settings = name == "tamis.json" && (dir == self.base.path() || Some(dir) == self.query_root.as_deref());
        !(LEFT_OUT.contains(&&*name) || weights || learned_table || settings || name == WEIGHTS_INDEX_NAME)
    }

    /// Where a file or directory of the base lies in what is written.
    pub(super) fn place_of(&self, path: &Path) -> PathBuf {
        if let Ok(inside) = path.strip_prefix(self.base.path()) {
            return inside.to_owned();
        }
        let query = self.query_root.as_deref().unwrap_or(Path::new(""));
        self.query_place().join(path.strip_prefix(query).unwrap_or(path))
    }

    /// Where the query encoder of a pair lies in what is written.
    fn query_place(&self) -> PathBuf {
        let inside = self
            .query_root
            .as_deref()
            .map(|root| root.strip_prefix(self.base.path()));
        match inside {
            Some(Ok(inside)) => inside.to_owned(),
            _ => PathBuf::from("query"),
        }
    }

    /// The learned table in the form of the one that it began as.
    fn write_table(&self, target: &Target, table: &Var) -> Result<(), Error> {
        let Side::Table(files) = &self.query_files else {
            return Ok(());
        };
        let values = values(table.as_tensor())?;
        match &files.list {
            None => {
                let path = self.place_of(&files.dir).join(WEIGHTS_NAME);
                let tensor = StoredTensor::single_precision("weight", &[values.len()], &values);
                target.write_bytes(&path, &write_tensors(&path, &[tensor])?)
            }
            Some(list) => {
                let path = self.place_of(&list.with_file_name("idf.json"));
                target.write_bytes(&path, &self.idf_json(&values))
            }
        }
    }

    /// A table by the names of its tokens.
    fn idf_json(&self, values: &[f32]) -> Vec<u8> {
        let tokenizer = &self.query.rules.tokenizer;
        let named = (0u32..)
            .zip(values)
            .filter_map(|(id, &value)| Some((tokenizer.token(id)?, json!(value))));
        Value::Object(named.collect()).to_string().into_bytes()
    }

    /// The weights of a query table as they stand, one a column; `None` where queries have none.
    #[must_use]
    pub fn query_table(&self) -> Option<Vec<f32>> {
        let table = match &self.query.weigher {
            Weigher::Table(Table::Learned(var)) => var.as_tensor(),
            Weigher::Table(Table::Fixed(table)) => table,
            _ => return None,
        };
        let mut values = values(table).ok()?;
        values.resize(self.columns, 0.0);
        Some(values)
    }

    /// What DeepCT learns of positives (Dai and Callan, 2020), as `(targets, mask)`, both `[documents, columns]`: the mask
    /// is 1 on the columns of a positive's own terms, the target is 1 where the term stands in its query.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub(crate) fn term_recall(&self, texts: &StepTexts, group: usize) -> Result<(Tensor, Tensor), Error> {
        let (documents, columns) = (texts.len(InputKind::Document), texts.columns());
        let (mut targets, mut mask) = (vec![0f32; documents * columns], vec![0f32; documents * columns]);
        for query in 0..texts.len(InputKind::Query) {
            let positive = query * group;
            let asked = texts.own_columns(InputKind::Query, query);
            for column in texts.own_columns(InputKind::Document, positive) {
                let at = positive * columns + column as usize;
                mask[at] = 1.0;
                targets[at] = f32::from(u8::from(asked.binary_search(&column).is_ok()));
            }
        }
        let tensor = |values| Tensor::from_vec(values, (documents, columns), &self.device)?.to_dtype(self.dtype);
        Ok((tensor(targets)?, tensor(mask)?))
    }
}

/// All tensors of a transformer's file, the learned ones as they stand.
pub(super) fn tensors(transformer: &TrainableTransformer) -> Result<Vec<StoredTensor>, Error> {
    let files = transformer.store.files();
    let learned: BTreeMap<String, Var> = transformer.store.written().into_iter().collect();
    let tensor = |name: String| match learned.get(&name) {
        Some(var) => Ok(StoredTensor::single_precision(
            &name,
            var.dims(),
            &values(var.as_tensor())?,
        )),
        None => {
            let (dtype, shape, bytes) = files.stored(&name)?;
            if dtype == Dtype::I8 {
                let tensor = files.read_tensor(&name, &shape)?;
                return Ok(StoredTensor::single_precision(&name, &shape, &values(&tensor)?));
            }
            Ok(StoredTensor {
                name,
                dtype,
                shape,
                bytes,
            })
        }
    };
    let names = files.names();
    // Learned matrices are written in single precision, so those in 8 bits are, too, and have no scales any more.
    let is_scale = |name: &String| {
        name.strip_suffix(".scale")
            .is_some_and(|matrix| names.iter().any(|name| name == matrix))
    };
    names
        .iter()
        .filter(|name| !is_scale(name))
        .cloned()
        .map(tensor)
        .collect()
}

pub(super) fn values(tensor: &Tensor) -> Result<Vec<f32>, Error> {
    Ok(tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
}

impl TrainableSide {
    /// Whether each distinct token of a text has a fixed weight.
    pub(super) fn is_table(&self) -> bool {
        matches!(
            self.weigher,
            Weigher::Table(_) | Weigher::Static(_) | Weigher::Binary(_)
        )
    }
}
