//! Ids of requests: unique within a run of the service and sortable by time.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Longest id taken over from a client.
const MAX_CLIENT_ID_BYTES: usize = 128;

/// The id of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(String);

/// Hands out ids.
#[derive(Debug, Default)]
pub struct RequestIds {
    counter: AtomicU32,
}

impl RequestIds {
    /// The client's own id when it sent a harmless one (letters, digits, `-`, `_`, `.`), else a new one: milliseconds
    /// since 1970 and a running number, both in hexadecimal.
    pub fn assign(&self, from_client: Option<&str>) -> RequestId {
        let harmless = |id: &&str| {
            !id.is_empty()
                && id.len() <= MAX_CLIENT_ID_BYTES
                && id
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        if let Some(id) = from_client.filter(harmless) {
            return RequestId(id.to_owned());
        }
        let millis = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |elapsed| elapsed.as_millis());
        RequestId(format!(
            "{millis:011x}-{:08x}",
            self.counter.fetch_add(1, Ordering::Relaxed)
        ))
    }
}

impl RequestId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_only_harmless_ones_are_taken_over() {
        let ids = RequestIds::default();
        assert_ne!(ids.assign(None), ids.assign(None));
        assert_eq!(ids.assign(Some("trace-7.a_B")).as_str(), "trace-7.a_B");
        for hostile in ["", "a b", "a\r\nset-cookie: x", "é", &"x".repeat(129)] {
            assert_ne!(ids.assign(Some(hostile)).as_str(), hostile);
        }
    }
}
