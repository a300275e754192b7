//! Vectors as bytes, for what only this program reads again: parts of an output, and the cache.
//!
//! Little endian. Texts have their length before them (u32); a vector is the number of its tokens (u32), then each
//! token with its weight (f32, to the bit).

use super::Encoded;
use crate::encoding::Tokens;

/// Appends `tokens`.
pub fn write_tokens(tokens: &Tokens, out: &mut Vec<u8>) {
    write_len(tokens.len(), out);
    for (token, weight) in tokens {
        write_text(token, out);
        out.extend(weight.to_le_bytes());
    }
}

/// Takes a vector off the front of `bytes`; `None` when they are none.
pub fn read_tokens(bytes: &mut &[u8]) -> Option<Tokens> {
    let count = read_len(bytes)?;
    // Each token takes eight bytes at least, so that a wild count reserves nothing.
    let mut tokens = Vec::with_capacity(count.min(bytes.len() / 8));
    for _ in 0..count {
        let token = read_text(bytes)?;
        let (weight, rest) = bytes.split_first_chunk()?;
        *bytes = rest;
        tokens.push((token, f32::from_le_bytes(*weight)));
    }
    Some(tokens)
}

/// Appends a whole record.
pub fn write_record(encoded: &Encoded, out: &mut Vec<u8>) {
    write_text(&encoded.id, out);
    out.push(u8::from(encoded.content.is_some()));
    if let Some(content) = &encoded.content {
        write_text(content, out);
    }
    write_tokens(&encoded.tokens, out);
}

/// Takes a record off the front of `bytes`; `None` when they are none.
pub fn read_record(bytes: &mut &[u8]) -> Option<Encoded> {
    let id = read_text(bytes)?;
    let (&has_content, rest) = bytes.split_first()?;
    *bytes = rest;
    let content = match has_content {
        0 => None,
        _ => Some(read_text(bytes)?),
    };
    let tokens = read_tokens(bytes)?;
    Some(Encoded { id, content, tokens })
}

fn write_len(len: usize, out: &mut Vec<u8>) {
    let len = u32::try_from(len).expect("texts and vectors are far smaller than 4 GiB");
    out.extend(len.to_le_bytes());
}

fn read_len(bytes: &mut &[u8]) -> Option<usize> {
    let (len, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    usize::try_from(u32::from_le_bytes(*len)).ok()
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    write_len(text.len(), out);
    out.extend(text.as_bytes());
}

fn read_text(bytes: &mut &[u8]) -> Option<String> {
    let len = read_len(bytes)?;
    let (text, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(std::str::from_utf8(text).ok()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_and_cut_ones_are_refused() {
        let encoded = Encoded {
            id: "é".to_owned(),
            content: Some(String::new()),
            tokens: vec![("##s".to_owned(), 0.1), ("sieve".to_owned(), f32::MIN_POSITIVE)],
        };
        let mut bytes = Vec::new();
        write_record(&encoded, &mut bytes);
        let mut rest = bytes.as_slice();
        assert_eq!(read_record(&mut rest), Some(encoded));
        assert!(rest.is_empty());
        for len in 0..bytes.len() {
            assert_eq!(read_record(&mut &bytes[..len]), None, "{len} bytes");
        }
        assert_eq!(read_tokens(&mut &[0xff; 12][..]), None);
    }
}
