//! Text to symbols.

use crate::Error;

/// A symbol and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Symbol {
    pub(super) position: usize,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// A comparison, bracket or comma.
    Sign(&'static str),
    /// A field, a word of the grammar or an unquoted value.
    Word(String),
    /// A value in quotes.
    Quoted(String),
    End,
}

impl Kind {
    /// How an error message names it.
    pub(super) fn shown(&self) -> String {
        let shorten = |text: &str| text.chars().take(40).collect::<String>();
        match self {
            Self::Sign(sign) => format!("`{sign}`"),
            Self::Word(word) => format!("`{}`", shorten(word)),
            Self::Quoted(text) => format!("\"{}\"", shorten(text)),
            Self::End => "the end".to_owned(),
        }
    }
}

/// Longer signs first.
const SIGNS: [&str; 12] = ["==", "!=", "<=", ">=", "=", "<", ">", "(", ")", "[", "]", ","];

pub(super) fn symbols(text: &str) -> Result<Vec<Symbol>, Error> {
    let mut symbols = Vec::new();
    let mut position = 0;
    while let Some(first) = text[position..].chars().next() {
        let rest = &text[position..];
        if first.is_whitespace() {
            position += first.len_utf8();
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            let kind = Kind::Sign(sign);
            symbols.push(Symbol { position, kind });
            position += sign.len();
        } else if first == '"' || first == '\'' {
            let (value, len) = quoted(rest, first).map_err(|reason| super::parser::bad(position, reason))?;
            let kind = Kind::Quoted(value);
            symbols.push(Symbol { position, kind });
            position += len;
        } else {
            let len = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
            if len == 0 {
                return Err(super::parser::bad(
                    position,
                    format!("`{first}` is not allowed here; put text values in quotes"),
                ));
            }
            let kind = Kind::Word(rest[..len].to_owned());
            symbols.push(Symbol { position, kind });
            position += len;
        }
    }
    symbols.push(Symbol {
        position,
        kind: Kind::End,
    });
    Ok(symbols)
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '_' | '-' | '+' | '.' | ':')
}

/// The text between quotes and how many bytes it takes, quotes included.
fn quoted(text: &str, quote: char) -> Result<(String, usize), String> {
    let mut value = String::new();
    let mut letters = text.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some((_, escaped @ ('"' | '\'' | '\\'))) => value.push(escaped),
                _ => return Err("`\\` must be followed by a quote or another `\\`".to_owned()),
            },
            _ if letter == quote => return Ok((value, at + quote.len_utf8())),
            _ => value.push(letter),
        }
    }
    Err(format!("the closing {quote} is missing"))
}
