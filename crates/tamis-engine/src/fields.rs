//! A collection's fields as tantivy fields.

use crate::document::Document;
use crate::schema::{FieldSchema, FieldType, FieldValue};
use crate::words::LineTokenizer;
use tantivy::schema::{
    BytesOptions, DateOptions, DateTimePrecision, Field, IndexRecordOption, NumericOptions, Schema, SchemaBuilder,
    TextFieldIndexing, TextOptions,
};
use tantivy::tokenizer::TokenizerManager;
use tantivy::{DateTime, TantivyDocument, Term};

/// Terms that the analyser has made already, separated by line feeds ([`crate::words`]).
const ANALYSED: &str = "tamis-analysed";

/// Where everything is in tantivy's schema.
#[derive(Clone, Debug)]
pub(crate) struct Fields {
    pub(crate) schema: Schema,
    /// The id as one term, for deletes.
    pub(crate) id: Field,
    /// The analysed words of title and text with frequencies, for BM25.
    pub(crate) words: Field,
    /// Title, text and fields as given, JSON.
    pub(crate) source: Field,
    /// What the impact component takes: [`crate::component`].
    pub(crate) impacts: Field,
    /// The declared fields with theirs.
    declared: Vec<(String, Field)>,
}

impl Fields {
    pub(crate) fn new(declared: &FieldSchema) -> Self {
        let mut builder = Schema::builder();
        let plain = TextFieldIndexing::default().set_fieldnorms(false);
        let whole = plain
            .clone()
            .set_tokenizer("raw")
            .set_index_option(IndexRecordOption::Basic);
        let id = builder.add_text_field("id", TextOptions::default().set_indexing_options(whole));
        let analysed = plain
            .set_tokenizer(ANALYSED)
            .set_index_option(IndexRecordOption::WithFreqs);
        let words = builder.add_text_field("words", TextOptions::default().set_indexing_options(analysed));
        let source = builder.add_bytes_field("source", BytesOptions::default().set_stored());
        let impacts = builder.add_custom_field("impacts", "tamis-impacts", serde_json::Value::Null);
        let declared = declared
            .iter()
            .map(|(name, kind)| (name.to_owned(), add_field(&mut builder, &column_name(name), kind)))
            .collect();
        Self {
            schema: builder.build(),
            id,
            words,
            source,
            impacts,
            declared,
        }
    }

    /// The tokenizers that the schema names.
    pub(crate) fn tokenizers() -> TokenizerManager {
        let tokenizers = TokenizerManager::default();
        tokenizers.register(ANALYSED, LineTokenizer::default());
        tokenizers
    }

    pub(crate) fn id_term(&self, id: &str) -> Term {
        Term::from_field_text(self.id, id)
    }

    /// Adds typed `values` of declared fields to `document`.
    pub(crate) fn add_values(&self, document: &mut TantivyDocument, values: &[(String, FieldValue)]) {
        for (name, value) in values {
            let Some((_, field)) = self.declared.iter().find(|(known, _)| known == name) else {
                continue;
            };
            match value {
                FieldValue::Keyword(text) => document.add_text(*field, text),
                FieldValue::Integer(number) => document.add_i64(*field, *number),
                FieldValue::Float(number) => document.add_f64(*field, *number),
                FieldValue::Bool(value) => document.add_bool(*field, *value),
                FieldValue::Date(nanos) => document.add_date(*field, DateTime::from_timestamp_nanos(*nanos)),
            }
        }
    }
}

/// The column of declared field `name`; the prefix keeps it apart from our own.
pub(crate) fn column_name(name: &str) -> String {
    format!("field_{name}")
}

fn add_field(builder: &mut SchemaBuilder, name: &str, kind: FieldType) -> Field {
    let number = NumericOptions::default().set_fast();
    match kind {
        FieldType::Keyword => builder.add_text_field(name, TextOptions::default().set_fast("raw")),
        FieldType::Integer => builder.add_i64_field(name, number),
        FieldType::Float => builder.add_f64_field(name, number),
        FieldType::Bool => builder.add_bool_field(name, number),
        FieldType::Date => {
            let options = DateOptions::default()
                .set_fast()
                .set_precision(DateTimePrecision::Nanoseconds);
            builder.add_date_field(name, options)
        }
    }
}

/// Title, text and fields as they are kept.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Source {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub(crate) fields: serde_json::Map<String, serde_json::Value>,
}

impl From<Document> for Source {
    fn from(document: Document) -> Self {
        Self {
            title: document.title,
            text: document.text,
            fields: document.fields,
        }
    }
}
