//! Token weights as a JSON object: `{"lobster": 2.1, "crab": 0.6}`.

use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserializer, Serializer};
use std::fmt;

pub(crate) fn serialize<S: Serializer>(tokens: &Option<Vec<(String, f32)>>, out: S) -> Result<S::Ok, S::Error> {
    let Some(tokens) = tokens else {
        return out.serialize_none();
    };
    let mut map = out.serialize_map(Some(tokens.len()))?;
    for (token, weight) in tokens {
        map.serialize_entry(token, weight)?;
    }
    map.end()
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Vec<(String, f32)>>, D::Error> {
    struct Tokens;
    impl<'de> Visitor<'de> for Tokens {
        type Value = Option<Vec<(String, f32)>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of token: weight")
        }

        fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_none<E: serde::de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_some<D: Deserializer<'de>>(self, input: D) -> Result<Self::Value, D::Error> {
            input.deserialize_map(self)
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut tokens: Vec<(String, f32)> = Vec::with_capacity(map.size_hint().unwrap_or(0).min(1 << 16));
            while let Some((token, weight)) = map.next_entry::<String, f64>()? {
                #[expect(clippy::cast_possible_truncation, reason = "weights are single precision")]
                let narrow = weight as f32;
                if !narrow.is_finite() {
                    return Err(A::Error::custom(format!(
                        "weight {weight} of token `{token}` is out of range"
                    )));
                }
                tokens.push((token, narrow));
            }
            Ok(Some(tokens))
        }
    }
    input.deserialize_option(Tokens)
}
