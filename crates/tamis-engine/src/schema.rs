//! Typed fields: their names, types and how JSON values become them.

use crate::Error;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The most fields of one collection.
pub const MAX_FIELDS: usize = 256;

/// The longest keyword, in bytes.
pub const MAX_KEYWORD_BYTES: usize = 4096;

/// The type of a field. A document may give one value or an array of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldType {
    /// Text that is compared whole and byte by byte.
    Keyword,
    /// A 64-bit signed integer.
    Integer,
    /// A finite double.
    Float,
    /// `true` or `false`.
    Bool,
    /// A moment: RFC 3339 (`2024-05-01T12:00:00Z`) or a day (`2024-05-01`, its first moment in UTC).
    Date,
}

impl FieldType {
    /// The name in configurations and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Keyword => "keyword",
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Bool => "bool",
            Self::Date => "date",
        }
    }
}

/// Named, typed fields in the order they were declared. In JSON: `{"year": "integer", "tags": "keyword"}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "serde_json::Map<String, Value>", into = "serde_json::Map<String, Value>")]
pub struct FieldSchema {
    fields: Vec<(String, FieldType)>,
}

impl FieldSchema {
    /// Declares `fields`.
    ///
    /// # Errors
    /// When a name is not allowed or given twice, or there are too many.
    pub fn new(fields: Vec<(String, FieldType)>) -> Result<Self, Error> {
        let schema = Self { fields };
        schema.validate()?;
        Ok(schema)
    }

    /// Names and types in order of declaration.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, FieldType)> + '_ {
        self.fields.iter().map(|(name, kind)| (name.as_str(), *kind))
    }

    /// The type of field `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<FieldType> {
        self.iter().find_map(|(known, kind)| (known == name).then_some(kind))
    }

    /// The declared name nearest to `name`, if one is near.
    #[must_use]
    pub fn nearest(&self, name: &str) -> Option<String> {
        nearest(name, self.iter().map(|(known, _)| known))
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        let bad = |reason: String| {
            Err(Error::BadConfig {
                option: "fields".to_owned(),
                reason,
            })
        };
        if self.fields.len() > MAX_FIELDS {
            return bad(format!(
                "{} fields, at most {MAX_FIELDS} are allowed",
                self.fields.len()
            ));
        }
        for (at, (name, _)) in self.fields.iter().enumerate() {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            let good = matches!(name.len(), 1..=64) && name.bytes().all(plain) && !name.as_bytes()[0].is_ascii_digit();
            if !good {
                return bad(format!(
                    "field name `{}` is not allowed: use 1 to 64 of a-z, A-Z, 0-9 and `_`, not beginning with a digit",
                    name.chars().take(80).collect::<String>()
                ));
            }
            if RESERVED.iter().any(|word| word.eq_ignore_ascii_case(name)) {
                return bad(format!("field name `{name}` is reserved ({})", RESERVED.join(", ")));
            }
            if self.fields[..at].iter().any(|(before, _)| before == name) {
                return bad(format!("field `{name}` is declared twice"));
            }
        }
        Ok(())
    }
}

/// Names that stand for parts of a document or words of the filter grammar.
const RESERVED: [&str; 11] = [
    "id", "title", "text", "vector", "and", "or", "not", "in", "exists", "true", "false",
];

impl TryFrom<serde_json::Map<String, Value>> for FieldSchema {
    type Error = String;

    fn try_from(map: serde_json::Map<String, Value>) -> Result<Self, String> {
        let fields = map.into_iter().map(|(name, value)| {
            let kind = serde_json::from_value(value.clone()).map_err(|_| {
                format!("field `{name}`: type {value} is unknown: use keyword, integer, float, bool or date")
            });
            kind.map(|kind| (name, kind))
        });
        Self::new(fields.collect::<Result<_, _>>()?).map_err(|error| error.to_string())
    }
}

impl From<FieldSchema> for serde_json::Map<String, Value> {
    fn from(schema: FieldSchema) -> Self {
        let pairs = schema.fields.into_iter();
        pairs.map(|(name, kind)| (name, Value::from(kind.name()))).collect()
    }
}

/// One checked value of a field.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum FieldValue {
    Keyword(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    /// Nanoseconds since 1970 in UTC.
    Date(i64),
}

impl FieldValue {
    /// Reads one JSON value as `kind`; the error says what is wrong.
    pub(crate) fn from_json(kind: FieldType, value: &Value) -> Result<Self, String> {
        let found = || format!("{} expected, `{}` found", kind.name(), shortened(value));
        match (kind, value) {
            (FieldType::Keyword, Value::String(text)) => Self::keyword(text),
            (FieldType::Integer, Value::Number(number)) => number.as_i64().map(Self::Integer).ok_or_else(found),
            (FieldType::Float, Value::Number(number)) => {
                let number = number.as_f64().filter(|number| number.is_finite()).ok_or_else(found)?;
                Ok(Self::float(number))
            }
            (FieldType::Bool, Value::Bool(value)) => Ok(Self::Bool(*value)),
            (FieldType::Date, Value::String(text)) => Self::date(text),
            _ => Err(found()),
        }
    }

    pub(crate) fn keyword(text: &str) -> Result<Self, String> {
        if text.len() > MAX_KEYWORD_BYTES {
            return Err(format!(
                "keyword of {} bytes, at most {MAX_KEYWORD_BYTES} are allowed",
                text.len()
            ));
        }
        Ok(Self::Keyword(text.to_owned()))
    }

    /// Both zeros are one value.
    pub(crate) fn float(number: f64) -> Self {
        Self::Float(number + 0.0)
    }

    pub(crate) fn date(text: &str) -> Result<Self, String> {
        let whole = match text.len() {
            10 => format!("{text}T00:00:00Z"),
            _ => text.to_owned(),
        };
        let moment = OffsetDateTime::parse(&whole, &Rfc3339).ok();
        let nanos = moment.and_then(|moment| i64::try_from(moment.unix_timestamp_nanos()).ok());
        nanos.map(Self::Date).ok_or_else(|| {
            format!(
                "`{}` is no date: write 2024-05-01 or 2024-05-01T12:00:00Z, years 1678 to 2262",
                text.chars().take(40).collect::<String>()
            )
        })
    }
}

fn shortened(value: &Value) -> String {
    value.to_string().chars().take(40).collect()
}

/// The name among `known` within an edit distance of a third of its length, if any.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    if name.len() > 64 {
        return None;
    }
    let scored = known.map(|candidate| (edit_distance(name, candidate), candidate));
    let (distance, best) = scored.min()?;
    (distance <= best.chars().count().div_ceil(3)).then(|| best.to_owned())
}

/// Levenshtein's distance in characters.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &to) in b.iter().enumerate() {
            let cost = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn declared_in_json_in_order() {
        let schema: FieldSchema = serde_json::from_value(json!({"year": "integer", "lang": "keyword"})).expect("valid");
        assert!(
            schema
                .iter()
                .eq([("year", FieldType::Integer), ("lang", FieldType::Keyword)])
        );
        assert_eq!(
            serde_json::to_string(&schema).expect("json"),
            r#"{"year":"integer","lang":"keyword"}"#
        );
        for bad in [
            json!({"year": "int"}),
            json!({"a.b": "bool"}),
            json!({"id": "keyword"}),
            json!({"And": "bool"}),
        ] {
            assert!(serde_json::from_value::<FieldSchema>(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn suggests_the_nearest_name() {
        let schema: FieldSchema = serde_json::from_value(json!({"year": "integer", "lang": "keyword"})).expect("valid");
        assert_eq!(schema.nearest("yeer").as_deref(), Some("year"));
        assert_eq!(schema.nearest("language"), None);
        assert_eq!(schema.nearest("zzzz"), None);
    }

    #[test]
    fn values_are_checked_by_type() {
        let read = |kind, value: Value| FieldValue::from_json(kind, &value);
        assert_eq!(read(FieldType::Integer, json!(-3)), Ok(FieldValue::Integer(-3)));
        assert_eq!(read(FieldType::Float, json!(2)), Ok(FieldValue::Float(2.0)));
        assert_eq!(
            read(FieldType::Date, json!("1970-01-02")),
            Ok(FieldValue::Date(86_400_000_000_000))
        );
        assert_eq!(
            read(FieldType::Date, json!("1970-01-01T01:00:00+01:00")),
            Ok(FieldValue::Date(0))
        );
        for (kind, value) in [
            (FieldType::Integer, json!(1.5)),
            (FieldType::Integer, json!("1")),
            (FieldType::Bool, json!(1)),
            (FieldType::Date, json!("yesterday")),
            (FieldType::Date, json!("2500-01-01")),
            (FieldType::Keyword, json!("x".repeat(5000))),
            (FieldType::Float, json!(null)),
        ] {
            assert!(read(kind, value.clone()).is_err(), "{kind:?} {value}");
        }
    }
}
