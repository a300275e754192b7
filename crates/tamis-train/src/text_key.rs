//! When two texts count as the same.

use std::fmt;

/// The text in the form in which it is compared: lower case, and only letters and digits, in words
/// separated by single spaces. A text without letters and digits is only trimmed.
#[must_use]
pub fn normalised(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text
        .split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty())
    {
        if !out.is_empty() {
            out.push(' ');
        }
        out.extend(word.chars().flat_map(char::to_lowercase));
    }
    if out.is_empty() { text.trim().to_owned() } else { out }
}

/// Stands for a text: two texts with the same [`normalised`] form have the same key, and no others do.
///
/// The first 128 bits of BLAKE3 of that form: among a billion texts, two different ones meet with a
/// probability below 1e-20.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TextKey(u128);

impl TextKey {
    /// The key of a text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut half = [0; 16];
        half.copy_from_slice(&blake3::hash(normalised(text).as_bytes()).as_bytes()[..16]);
        Self(u128::from_le_bytes(half))
    }
}

impl fmt::Display for TextKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_punctuation_and_spacing_do_not_matter() {
        assert_eq!(normalised("  What's the \"Sieve\"-test?\n"), "what s the sieve test");
        assert_eq!(normalised("ÉTÉ, 2015"), "été 2015");
        assert_eq!(TextKey::of("What is it?"), TextKey::of(" what is  IT "));
    }

    #[test]
    fn words_their_order_and_their_borders_do() {
        let texts = [
            "what is it",
            "what it is",
            "what isit",
            "what is",
            "what is it 1",
            "",
            "?!",
            "??",
        ];
        for (number, text) in texts.iter().enumerate() {
            for other in &texts[..number] {
                assert_ne!(TextKey::of(text), TextKey::of(other), "{text:?} {other:?}");
            }
        }
    }
}
