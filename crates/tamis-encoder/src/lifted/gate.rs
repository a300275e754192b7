//! Gates: how much an occurrence of a stem counts in the context it stands in.
//!
//! An occurrence weighs `2 sigma(v h + c)`, from 0 to 2, with h the last hidden state of the first piece of its word; a
//! stem of a document weighs its saturated term frequency times the mean of its occurrences' gates. With v and c at 0
//! every gate is 1 and nothing changes. Term weights from contextual states go back to DeepCT (Dai and Callan, SIGIR
//! 2020) and DeepImpact (Mallia et al., SIGIR 2021); here they only scale a frequency, so that exact words are never
//! lost.

use crate::SparseEncoding;
use crate::lexical::{Analyzer, Lexical};
use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

/// The gate of a lifted model.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    /// v, as wide as a hidden state; finite.
    pub weights: Vec<f32>,
    /// c, finite.
    pub bias: f32,
}

impl Gate {
    /// The gate of a word whose first piece has the hidden state `hidden`, from 0 to 2.
    pub(crate) fn value(&self, hidden: &[f32]) -> f32 {
        let product = self
            .weights
            .iter()
            .zip(hidden)
            .fold(self.bias, |sum, (v, h)| sum + v * h);
        2.0 / (1.0 + (-product).exp())
    }
}

/// The gates of one text, by the first bytes of the pieces that they are of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TextGates {
    /// Ascending.
    starts: Vec<usize>,
    values: Vec<f32>,
    mean: f32,
}

impl TextGates {
    /// Gates of pieces in the order of the text: first byte and value.
    pub(crate) fn new(pieces: impl Iterator<Item = (usize, f32)>) -> Self {
        let (starts, values): (Vec<usize>, Vec<f32>) = pieces.unzip();
        #[expect(clippy::cast_precision_loss, reason = "texts stay far below 2^24 tokens")]
        let mean = match values.len() {
            0 => 1.0,
            len => values.iter().sum::<f32>() / len as f32,
        };
        Self { starts, values, mean }
    }

    /// The gate of the word at `bytes`: that of its first piece. What has none (words behind the first part of a long
    /// text, a character that the tokenizer drops) counts as the text does on average.
    pub(crate) fn of(&self, bytes: Range<usize>) -> f32 {
        let first = self.starts.partition_point(|&start| start < bytes.start);
        match self.starts.get(first) {
            Some(&start) if start < bytes.end => self.values[first],
            _ => self.mean,
        }
    }
}

/// The lexical weights of a document, each times the mean of its occurrences' gates.
pub(crate) fn gated_document(lexical: &Lexical, text: &str, gates: &TextGates) -> SparseEncoding {
    let mut occurrences: HashMap<Cow<'_, str>, (u32, f32)> = HashMap::new();
    let mut num_tokens = 0usize;
    for token in Analyzer.tokens(text) {
        let (count, sum) = occurrences.entry(token.text).or_default();
        *count += 1;
        *sum += gates.of(token.start..token.end);
        num_tokens += 1;
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "lengths and counts only shape a smooth weight"
    )]
    let weight =
        |(count, sum): (u32, f32)| lexical.options().document_weight(count, num_tokens as f32) * (sum / count as f32);
    let weighed = occurrences
        .into_iter()
        .map(|(term, found)| (term.into_owned(), weight(found)));
    let mut tokens: Vec<(String, f32)> = weighed.filter(|&(_, weight)| weight > 0.0).collect();
    tokens.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    SparseEncoding {
        tokens,
        num_tokens,
        num_windows: 1,
        truncated: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lexical::LexicalOptions;
    use crate::{Encoder, InputKind};

    #[test]
    fn a_gate_at_rest_is_one() {
        let gate = Gate {
            weights: vec![0.0; 3],
            bias: 0.0,
        };
        assert_eq!(gate.value(&[5.0, -2.0, 1.0]), 1.0);
        let gate = Gate {
            weights: vec![1.0, 0.0, -1.0],
            bias: 0.5,
        };
        let expected = 2.0 / (1.0 + (-(2.0 - 3.0 + 0.5f32)).exp());
        assert!((gate.value(&[2.0, 9.0, 3.0]) - expected).abs() < 1e-7);
        assert_eq!(
            (gate.value(&[200.0, 0.0, 0.0]), gate.value(&[-200.0, 0.0, 0.0])),
            (2.0, 0.0)
        );
    }

    #[test]
    fn words_take_the_gate_of_their_first_piece() {
        let gates = TextGates::new([(0, 0.5), (3, 1.5), (8, 1.0)].into_iter());
        assert_eq!(gates.of(0..2), 0.5);
        assert_eq!(gates.of(3..7), 1.5);
        assert_eq!(gates.of(2..7), 1.5, "the first piece within the word");
        assert_eq!(gates.of(4..7), 1.0, "no piece begins in it: the mean");
        assert_eq!(gates.of(20..24), 1.0, "behind the end: the mean");
        assert_eq!(TextGates::default().of(0..1), 0.0);
        assert_eq!(TextGates::new(std::iter::empty()).of(0..1), 1.0);
    }

    #[test]
    fn weights_are_scaled_by_the_mean_of_occurrences() {
        let lexical = Lexical::new(LexicalOptions::default()).expect("defaults");
        let text = "Sieves, mills and a sieve";
        let plain = lexical
            .encode(InputKind::Document, &[text])
            .expect("any text")
            .remove(0);
        let ones = TextGates::new([(0, 1.0)].into_iter());
        assert_eq!(gated_document(&lexical, text, &ones), plain);
        let gates = TextGates::new([(0, 0.5), (8, 0.0), (20, 1.5)].into_iter());
        let gated = gated_document(&lexical, text, &gates);
        assert_eq!(
            gated.tokens,
            plain.tokens[1..],
            "sieves have .5 and 1.5, and mills are gone"
        );
        assert_eq!(gated.num_tokens, 3);
    }
}
