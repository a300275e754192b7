//! Shapes of the collection routes.

use serde::{Deserialize, Deserializer, Serialize};
use tamis_engine::{CollectionConfig, FieldSchema};
use utoipa::ToSchema;

/// How a collection is to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CollectionBody {
    /// Its name: 1 to 64 of a-z, 0-9, `_` and `-`, beginning with a letter or digit. With PUT the path names it.
    #[serde(default)]
    pub name: Option<String>,
    /// Its model: `tamis-small`, `lexical`, or a model directory on the server. If left out, the server's own, which is
    /// `tamis-small` unless it was told another. With `null` there is none: documents bring their own vectors, or only
    /// BM25 is searched.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<String>)]
    pub model: Option<Option<String>>,
    /// Its typed fields by name: keyword, integer, float, bool or date.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub fields: FieldSchema,
    /// The largest document weight that is kept; greater ones saturate. The model's own bound if left out.
    #[serde(default)]
    pub max_weight: Option<f32>,
    /// Whether documents are reordered for faster and smaller indexes.
    #[serde(default)]
    pub reorder: Option<bool>,
}

impl CollectionBody {
    /// The engine's configuration under that name; what the body leaves out has the engine's default, and the model is
    /// then `default_model`.
    pub fn config(self, name: String, default_model: &str) -> CollectionConfig {
        let mut config = CollectionConfig::new(name);
        config.model = self.model.unwrap_or_else(|| Some(default_model.to_owned()));
        config.fields = self.fields;
        config.max_weight = self.max_weight;
        if let Some(reorder) = self.reorder {
            config.reorder = reorder;
        }
        config
    }
}

/// What is said of the model, `null` included: a field that is left out does not come here.
fn said<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// A collection.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct CollectionInfo {
    /// Its name.
    pub name: String,
    /// Its model, if it has one.
    pub model: Option<String>,
    /// Its typed fields by name.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub fields: FieldSchema,
    /// Documents that searches see.
    pub documents: u64,
    /// Writes and deletions that the next commit makes visible.
    pub pending: u64,
    /// The last commit; it grows with every commit.
    pub generation: u64,
    /// Segments.
    pub segments: u64,
    /// Terms in the vocabulary.
    pub terms: u64,
    /// Postings of the impact indexes.
    pub postings: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// The largest document weight that is kept, if one was set.
    pub max_weight: Option<f32>,
    /// Whether documents are reordered.
    pub reorder: bool,
    /// Why the collection is not available; left out when it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl CollectionInfo {
    /// A collection that could not be opened.
    pub fn unavailable(name: String, error: String) -> Self {
        Self {
            name,
            error: Some(error),
            ..Self::default()
        }
    }
}

/// All collections.
#[derive(Debug, Serialize, ToSchema)]
pub struct CollectionList {
    /// The collections, ascending by name.
    pub collections: Vec<CollectionInfo>,
}

/// A collection that was deleted.
#[derive(Debug, Serialize, ToSchema)]
pub struct CollectionDeleted {
    /// Its name.
    pub deleted: String,
}

/// A commit that is done.
#[derive(Debug, Serialize, ToSchema)]
pub struct CommitAnswer {
    /// Documents that searches see now.
    pub documents: u64,
    /// Milliseconds.
    pub took_ms: f64,
}
