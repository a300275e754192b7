//! Filling a collection from records.

use crate::encoding::{self, BATCH, Long};
use crate::exit::{Exit, failure};
use crate::input::{self, Body, Broken, Record};
use crate::output;
use crate::progress::Progress;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use tamis_encoder::{Compute, Encoder};
use tamis_engine::{Collection, CollectionConfig, Document, Engine, Error, ErrorKind, FieldSchema, FieldType};

/// `NAME=TYPE` of a field.
#[derive(Clone, Debug)]
pub struct Field(pub String, pub FieldType);

impl FromStr for Field {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, kind) = text
            .split_once('=')
            .ok_or("write NAME=TYPE, for example year=integer")?;
        let kind = serde_json::from_value(kind.into())
            .map_err(|_| format!("{kind:?} is no field type: use keyword, integer, float, bool or date"))?;
        Ok(Self(name.to_owned(), kind))
    }
}

/// Which collection `tamis index` fills, and how it is made when it is not there.
#[derive(clap::Args)]
pub struct Target {
    /// Folder with the collections that `tamis serve` serves
    #[arg(long, default_value = "tamis-data", requires = "collection")]
    pub data: std::path::PathBuf,
    /// Add the documents to this collection in --data, which is created when it is not there
    #[arg(long)]
    pub collection: Option<String>,
    /// A field of a new collection, NAME=TYPE with keyword, integer, float, bool or date; may be repeated
    #[arg(long = "field", value_name = "NAME=TYPE", requires = "collection")]
    pub fields: Vec<Field>,
}

/// What [`fill`] puts into a collection.
pub struct Filling<'a> {
    /// The model of a new collection; the default one where there is none.
    pub model: Option<&'a str>,
    /// Where and how exactly it computes.
    pub compute: Compute,
    /// The documents.
    pub input: &'a Path,
    /// What becomes of long texts; fixed when the collection is made.
    pub long: Option<Long>,
    /// Report as JSON.
    pub json: bool,
}

/// Adds the documents of `filling` to collection `name` and commits; all or none of them.
pub fn fill(target: &Target, name: &str, filling: &Filling<'_>, broken: &mut Broken) -> anyhow::Result<()> {
    let engine = Engine::open_with(&target.data, filling.compute)?;
    let (collection, is_new) = match engine.collection(name) {
        Ok(_) if !target.fields.is_empty() || filling.model.is_some() || filling.long.is_some() => {
            let message = format!(
                "collection {name} exists: its model and fields are fixed, leave out --model, --long and --field"
            );
            return Err(failure(Exit::Usage, message));
        }
        Ok(collection) => (collection, false),
        Err(error) if error.kind() == ErrorKind::NotFound => (make(&engine, target, name, filling)?, true),
        Err(error) => return Err(error.into()),
    };
    let added = add_all(&collection, filling, broken);
    if added.is_err() && is_new {
        engine.delete_collection(name)?;
    }
    added?;
    let num_docs = collection.num_docs();
    if filling.json {
        return output::json(&json!({"collection": name, "documents": num_docs, "stats": collection.stats()}));
    }
    output::line(&format!("{name}: {} documents", output::grouped(num_docs)));
    Ok(())
}

fn make(engine: &Engine, target: &Target, name: &str, filling: &Filling<'_>) -> anyhow::Result<Arc<Collection>> {
    let mut config = CollectionConfig::new(name);
    config.fields = FieldSchema::new(target.fields.iter().map(|field| (field.0.clone(), field.1)).collect())?;
    let spec = filling.model.unwrap_or(tamis_encoder::DEFAULT_MODEL);
    config.model = Some(spec.to_owned());
    let long = filling.long.unwrap_or_default();
    let encoder = encoding::open_model_for(spec, filling.input, long, filling.compute)?;
    Ok(engine.create_collection_with(&config, Some(encoder))?)
}

fn add_all(collection: &Collection, filling: &Filling<'_>, broken: &mut Broken) -> anyhow::Result<()> {
    let (records, extent) = input::documents(filling.input)?;
    let progress = Progress::new("added", "documents", extent, filling.json);
    let mut undeclared = BTreeSet::new();
    input::in_batches(records, broken, BATCH, |batch| {
        progress.add(batch.len());
        add_records(collection, batch, &mut undeclared)
    })?;
    collection.commit()?;
    progress.finish();
    if !undeclared.is_empty() {
        let keys: Vec<String> = undeclared.into_iter().collect();
        let keys = keys.join(", ");
        output::note(&format!(
            "note: keys that are no fields of the collection were left out: {keys}"
        ));
    }
    Ok(())
}

/// Makes a collection in `engine` and fills it with `records`, all of whose other keys are declared fields.
pub fn create(
    engine: &Engine,
    config: &CollectionConfig,
    encoder: Arc<dyn Encoder>,
    records: Vec<Record>,
) -> anyhow::Result<Arc<Collection>> {
    let collection = engine.create_collection_with(config, Some(encoder))?;
    add_records(&collection, records, &mut BTreeSet::new())?;
    collection.commit()?;
    Ok(collection)
}

/// Adds `records`, the first one that is refused is an error; nothing is committed. Keys that are no fields are
/// left out and go to `undeclared`.
pub fn add_records(
    collection: &Collection,
    records: Vec<Record>,
    undeclared: &mut BTreeSet<String>,
) -> anyhow::Result<()> {
    let documents = records
        .into_iter()
        .map(|record| document(record, collection, undeclared));
    let report = collection.add(documents.collect())?;
    match report.failed.into_iter().next() {
        None => Ok(()),
        Some(failure) => Err(Error::BadDocument {
            id: failure.id,
            reason: failure.reason,
        }
        .into()),
    }
}

/// The document of `record`; keys that are not declared go to `undeclared`.
fn document(record: Record, collection: &Collection, undeclared: &mut BTreeSet<String>) -> Document {
    let schema = &collection.config().fields;
    let (fields, others): (Vec<_>, Vec<_>) = record
        .fields
        .into_iter()
        .partition(|(key, _)| schema.get(key).is_some());
    undeclared.extend(others.into_iter().map(|(key, _)| key));
    let fields = fields.into_iter().collect();
    let mut document = Document {
        id: record.id,
        fields,
        ..Document::default()
    };
    match record.body {
        Body::Text { title, text } => {
            document.title = (!title.is_empty()).then_some(title);
            document.text = Some(text);
        }
        Body::Vector(tokens) => document.vector = Some(tokens),
    }
    document
}
