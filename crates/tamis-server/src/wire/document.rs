//! Shapes of the document routes, and reading a document from JSON.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tamis_engine::{Document, DocumentFailure, StoredDocument};
use utoipa::{IntoParams, ToSchema};

use crate::body::json_failure;
use crate::failure::{Code, Detail, ErrorBody, Failure};
use crate::wire::search::TermWeights;

/// How a write is carried out.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WriteQuery {
    /// Whether the answer waits until everything accepted is visible to searches and on disk. Without it that happens
    /// soon after the answer, by itself.
    #[serde(default)]
    pub refresh: bool,
}

/// A document. Typed fields of the collection stand beside the named ones, or together in an object `fields`.
#[derive(Debug, Serialize, ToSchema)]
pub struct DocumentBody {
    /// The document's id, any UTF-8 up to 512 bytes.
    pub id: String,
    /// Its title; searched together with the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Its text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Its weights by term. In a write: a ready vector instead of encoding the text. In an answer: as indexed, the
    /// heaviest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<std::collections::BTreeMap<String, f32>>)]
    pub vector: Option<TermWeights>,
    /// Its typed fields.
    #[schema(required = false, value_type = std::collections::BTreeMap<String, Value>)]
    pub fields: Map<String, Value>,
}

/// A document or an array of documents.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(
    dead_code,
    reason = "only the schema is used: bodies are read piece by piece for better errors"
)]
pub enum DocumentsBody {
    /// One document.
    One(DocumentBody),
    /// Several documents.
    Many(Vec<DocumentBody>),
}

impl From<StoredDocument> for DocumentBody {
    fn from(document: StoredDocument) -> Self {
        Self {
            id: document.id,
            title: document.title,
            text: document.text,
            vector: document.vector.map(TermWeights),
            fields: document.fields,
        }
    }
}

/// What became of the documents of a body.
#[derive(Debug, Serialize, ToSchema)]
pub struct AddAnswer {
    /// Milliseconds.
    pub took_ms: f64,
    /// Whether any document failed.
    pub errors: bool,
    /// Documents that were written.
    pub accepted: usize,
    /// Documents that failed; the others were written all the same.
    pub failed: usize,
    /// Whether everything accepted is visible to searches and on disk: asked for with `refresh=true`.
    pub refreshed: bool,
    /// The failed documents, in order.
    pub items: Vec<AddItem>,
}

/// A document that failed.
#[derive(Debug, Serialize, ToSchema)]
pub struct AddItem {
    /// Its position in the array, from 0.
    pub position: usize,
    /// Its id, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The status it would have had alone.
    pub status: u16,
    /// What was wrong.
    pub error: ErrorBody,
}

impl AddItem {
    /// The item of a document that failed.
    pub fn new(position: usize, id: Option<String>, failure: &Failure) -> Self {
        Self {
            position,
            id,
            status: failure.code().status(),
            error: failure.body(None),
        }
    }
}

/// Ids to delete.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteBody {
    /// The ids; ids that do not exist are no error.
    pub ids: Vec<String>,
}

/// What a delete did.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeleteAnswer {
    /// Ids that were asked for.
    pub requested: usize,
    /// How many of them there were.
    pub deleted: usize,
    /// Whether the deletion is visible to searches and on disk: asked for with `refresh=true`.
    pub refreshed: bool,
    /// Milliseconds.
    pub took_ms: f64,
}

/// Reads a document from its JSON object.
///
/// # Errors
/// `invalid_document` when the id is missing or a part has the wrong type. Typed fields are checked by the engine.
pub fn document(mut object: Map<String, Value>) -> Result<Document, Failure> {
    // BEIR's corpora spell the id `_id`.
    let id = match (object.remove("id"), object.remove("_id")) {
        (Some(Value::String(id)), None) | (None, Some(Value::String(id))) => id,
        (None, None) => return Err(wrong("id", "A document needs an `id`, a string.")),
        (Some(_), Some(_)) => return Err(wrong("_id", "A document has either `id` or `_id`, not both.")),
        _ => return Err(wrong("id", "The document's `id` must be a string.")),
    };
    let title = text(&mut object, "title")?;
    let text = text(&mut object, "text")?;
    let vector = match object.remove("vector") {
        None | Some(Value::Null) => None,
        Some(weights) => {
            let weights: TermWeights = serde_json::from_value(weights).map_err(|error| {
                let reason = json_failure(&error)
                    .body(None)
                    .details
                    .pop()
                    .map(|detail| detail.reason)
                    .unwrap_or_default();
                wrong(
                    "vector",
                    &format!("The document's `vector` must map terms to weights: {reason}."),
                )
            })?;
            Some(weights.0)
        }
    };
    // A typed field never holds an object, so an object called `fields` can only be the fields together.
    if let Some(Value::Object(_)) = object.get("fields")
        && let Some(Value::Object(fields)) = object.remove("fields")
    {
        for (name, value) in fields {
            if object.insert(name.clone(), value).is_some() {
                return Err(wrong(
                    &name,
                    &format!("Field `{name}` is given twice, once in `fields`."),
                ));
            }
        }
    }
    Ok(Document {
        id,
        title,
        text,
        vector,
        fields: object,
    })
}

/// A document that the engine refused.
pub fn invalid_document(refused: &DocumentFailure) -> Failure {
    Failure::new(
        Code::InvalidDocument,
        format!("Document `{}`: {}.", refused.id, refused.reason),
    )
}

fn text(object: &mut Map<String, Value>, name: &'static str) -> Result<Option<String>, Failure> {
    match object.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(wrong(name, &format!("The document's `{name}` must be a string."))),
    }
}

fn wrong(path: &str, message: &str) -> Failure {
    Failure::new(Code::InvalidDocument, message).detail(Detail {
        path: Some(format!("$.{path}")),
        reason: message.trim_end_matches('.').to_owned(),
        ..Detail::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: Value) -> Result<Document, Failure> {
        let Value::Object(object) = value else {
            panic!("tests give objects")
        };
        document(object)
    }

    #[test]
    fn fields_may_stand_beside_or_together() {
        let beside = read(json!({"id": "1", "text": "t", "vector": {"b": 2, "a": 0.5}, "year": 7})).expect("valid");
        let together =
            read(json!({"_id": "1", "text": "t", "vector": {"b": 2, "a": 0.5}, "fields": {"year": 7}})).expect("valid");
        for document in [beside, together] {
            assert_eq!((document.id.as_str(), document.text.as_deref()), ("1", Some("t")));
            assert_eq!(
                document.vector,
                Some(vec![("b".to_owned(), 2.0), ("a".to_owned(), 0.5)])
            );
            assert_eq!(Value::Object(document.fields), json!({"year": 7}));
        }
        let scalar = read(json!({"id": "1", "fields": "a keyword"})).expect("a field may be called fields");
        assert_eq!(Value::Object(scalar.fields), json!({"fields": "a keyword"}));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (value, path) in [
            (json!({"text": "no id"}), "$.id"),
            (json!({"id": 7}), "$.id"),
            (json!({"id": "1", "_id": "1"}), "$._id"),
            (json!({"id": "1", "text": 5}), "$.text"),
            (json!({"id": "1", "vector": [1, 2]}), "$.vector"),
            (json!({"id": "1", "vector": {"a": "b"}}), "$.vector"),
            (json!({"id": "1", "year": 1, "fields": {"year": 2}}), "$.year"),
        ] {
            let failure = read(value.clone()).expect_err("the document is wrong");
            assert_eq!(failure.code(), Code::InvalidDocument, "{value}");
            assert_eq!(failure.body(None).details[0].path.as_deref(), Some(path), "{value}");
        }
    }
}
