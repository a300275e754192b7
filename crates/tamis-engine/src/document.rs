//! Documents as they are given and as they are kept.

use crate::Error;
use crate::schema::{FieldSchema, FieldValue};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The longest id, in bytes.
pub const MAX_ID_BYTES: usize = 512;

/// The longest title and text together, in bytes.
pub const MAX_TEXT_BYTES: usize = 16 << 20;

/// The most values of one field in one document.
pub const MAX_FIELD_VALUES: usize = 1024;

/// The most terms of a document's vector.
pub const MAX_VECTOR_TERMS: usize = 1 << 16;

/// One document. In JSON only `id` is required; unknown keys are refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// Any text of 1 to [`MAX_ID_BYTES`] bytes. A document of the same id is replaced.
    pub id: String,
    /// Searched together with the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What is encoded, searched and shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// A ready vector, token to weight, in place of the encoded text.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::token_map")]
    pub vector: Option<Vec<(String, f32)>>,
    /// Values of declared fields; each one value, an array of values, or null.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub fields: Map<String, Value>,
}

/// A document as it comes back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredDocument {
    /// Its id.
    pub id: String,
    /// Its title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Its text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Its fields, as they were given.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub fields: Map<String, Value>,
    /// Its vector as indexed (quantised), heaviest token first.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::token_map")]
    pub vector: Option<Vec<(String, f32)>>,
}

/// What became of a batch of documents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddReport {
    /// Documents taken in; searchable after the next commit.
    pub added: usize,
    /// Documents that were refused, in order; the others are not affected.
    pub failed: Vec<DocumentFailure>,
    /// Documents whose text was longer than the model reads.
    pub truncated: usize,
    /// Weights that were above the quantiser's range and were cut to it.
    pub saturated_weights: u64,
}

/// A document that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentFailure {
    /// Its place in the batch, from 0.
    pub position: usize,
    /// Its id, cut at 64 characters.
    pub id: String,
    /// What is wrong and what is allowed.
    pub reason: String,
}

/// Checks everything about `document` that needs no model; returns its typed field values.
pub(crate) fn check(document: &Document, schema: &FieldSchema) -> Result<Vec<(String, FieldValue)>, Error> {
    let refuse = |reason: String| Err(Error::document(&document.id, reason));
    if !matches!(document.id.len(), 1..=MAX_ID_BYTES) {
        return refuse(format!(
            "id of {} bytes, 1 to {MAX_ID_BYTES} are allowed",
            document.id.len()
        ));
    }
    let bytes = document.title.as_ref().map_or(0, String::len) + document.text.as_ref().map_or(0, String::len);
    if bytes > MAX_TEXT_BYTES {
        return refuse(format!(
            "title and text of {bytes} bytes, at most {MAX_TEXT_BYTES} are allowed"
        ));
    }
    if let Some(vector) = &document.vector {
        check_vector(vector, MAX_VECTOR_TERMS).map_err(|reason| Error::document(&document.id, reason))?;
    }
    let mut values = Vec::new();
    for (name, value) in &document.fields {
        let Some(kind) = schema.get(name) else {
            let hint = schema.nearest(name).map(|near| format!(" (did you mean `{near}`?)"));
            return refuse(format!("field `{name}` is not declared{}", hint.unwrap_or_default()));
        };
        let given = match value {
            Value::Null => &[],
            Value::Array(values) => values.as_slice(),
            one => std::slice::from_ref(one),
        };
        if given.len() > MAX_FIELD_VALUES {
            return refuse(format!(
                "field `{name}`: {} values, at most {MAX_FIELD_VALUES} are allowed",
                given.len()
            ));
        }
        for value in given {
            match FieldValue::from_json(kind, value) {
                Ok(value) => values.push((name.clone(), value)),
                Err(reason) => return refuse(format!("field `{name}`: {reason}")),
            }
        }
    }
    Ok(values)
}

/// Checks tokens and weights; the error says what is wrong.
pub(crate) fn check_vector(vector: &[(String, f32)], max_terms: usize) -> Result<(), String> {
    if vector.len() > max_terms {
        return Err(format!(
            "vector of {} terms, at most {max_terms} are allowed",
            vector.len()
        ));
    }
    let mut tokens: Vec<&str> = Vec::with_capacity(vector.len());
    for (token, weight) in vector {
        if !matches!(token.len(), 1..=512) {
            return Err(format!("token of {} bytes, 1 to 512 are allowed", token.len()));
        }
        if !(weight.is_finite() && *weight > 0.0) {
            return Err(format!("weight {weight} of token `{token}` is not a number above 0"));
        }
        tokens.push(token);
    }
    tokens.sort_unstable();
    match tokens.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("token `{}` is given twice", pair[0])),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(document: Value) -> String {
        let schema = serde_json::from_value(json!({"year": "integer", "tags": "keyword"})).expect("valid");
        let document: Document = serde_json::from_value(document).expect("shape");
        check(&document, &schema).expect_err("refused").to_string()
    }

    #[test]
    fn values_of_fields_are_typed_and_may_be_many() {
        let schema = serde_json::from_value(json!({"year": "integer", "tags": "keyword"})).expect("valid");
        let document: Document = serde_json::from_value(
            json!({"id": "a", "fields": {"tags": ["x", "y"], "year": null}, "vector": {"b": 1, "a": 0.5}}),
        )
        .expect("shape");
        let values = check(&document, &schema).expect("valid");
        assert_eq!(values.len(), 2);
        assert_eq!(
            document.vector,
            Some(vec![("b".to_owned(), 1.0), ("a".to_owned(), 0.5)])
        );
    }

    #[test]
    fn refusals_name_the_place() {
        assert!(refused(json!({"id": ""})).contains("id of 0 bytes"));
        assert!(refused(json!({"id": "x".repeat(513)})).contains("513"));
        assert!(refused(json!({"id": "a", "fields": {"yeer": 1}})).contains("did you mean `year`"));
        assert!(refused(json!({"id": "a", "fields": {"year": "1"}})).contains("integer expected"));
        assert!(refused(json!({"id": "a", "vector": {"x": 0.0}})).contains("`x`"));
        assert!(refused(json!({"id": "a", "vector": {"x": 1.0, "y": -2.0}})).contains("-2"));
        assert!(refused(json!({"id": "a", "vector": {"x": 1.0, "": 2.0}})).contains("0 bytes"));
        assert!(serde_json::from_value::<Document>(json!({"id": "a", "vector": {"x": 1e300}})).is_err());
        assert!(serde_json::from_value::<Document>(json!({"id": "a", "titel": "x"})).is_err());
    }
}
