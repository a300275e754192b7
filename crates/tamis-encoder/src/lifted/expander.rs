//! Dense vectors to document weights: the product with W, its largest entries, the lexical weights.

use super::gate::{TextGates, gated_document};
use super::{Lift, QueryExpansion};
use crate::{InputKind, Precision, SparseEncoding};
use rayon::prelude::*;
use tamis_kernels::{Kernels, LANES, PackedMatrix, PackedRows};

/// Documents whose products are held at a time by a thread: `8 * terms * 4` bytes, little enough for its cache.
const ROWS: usize = 8;

/// What stays of a lexical weight, whatever the expansion says of its stem: exact words are never lost.
const LEAST_SHARE: f32 = 0.25;

/// A [`Lift`] with W packed for products.
#[derive(Debug)]
pub struct Expander {
    lift: Lift,
    matrix: PackedMatrix,
    kernels: Kernels,
}

impl Expander {
    /// Packs W in `precision`; in 8 bits it is exactly what the table holds.
    #[must_use]
    pub fn new(lift: Lift, precision: Precision) -> Self {
        let matrix = PackedMatrix::pack(precision.into(), &lift.weights(), lift.config().width, None);
        Self {
            lift,
            matrix,
            kernels: tamis_kernels::active(),
        }
    }

    /// The table.
    #[must_use]
    pub fn lift(&self) -> &Lift {
        &self.lift
    }

    /// The weights of a query: each stem as often as it is there times its idf.
    #[must_use]
    pub fn query(&self, text: &str) -> SparseEncoding {
        let mut encoding = self.lift.lexical().encode_one(InputKind::Query, text);
        for (stem, weight) in &mut encoding.tokens {
            *weight *= self.lift.idf(stem);
        }
        encoding
    }

    /// The weights of documents whose dense vectors are known: the lexical weights of each text plus its expansion. A
    /// blank text has none. Each is the same whatever else is in the batch, to the bit.
    ///
    /// `num_tokens` counts index terms; who made the vectors knows what the model read.
    ///
    /// # Panics
    /// When there is not a vector of the table's width for each text.
    #[must_use]
    pub fn documents(&self, texts: &[&str], vectors: &[&[f32]]) -> Vec<SparseEncoding> {
        let mean = &self.lift.means().documents;
        self.in_rows(texts, vectors, mean, |at, product| {
            let lexical = self.lift.lexical().encode_one(InputKind::Document, texts[at]);
            self.document(texts[at], lexical, product)
        })
    }

    /// As [`Expander::documents`], with the lexical weights scaled by `gates`, those of each text.
    ///
    /// # Panics
    /// As [`Expander::documents`], and when there are no gates for a text.
    #[must_use]
    pub(super) fn gated_documents(
        &self,
        texts: &[&str],
        vectors: &[&[f32]],
        gates: &[&TextGates],
    ) -> Vec<SparseEncoding> {
        let mean = &self.lift.means().documents;
        self.in_rows(texts, vectors, mean, |at, product| {
            let lexical = gated_document(self.lift.lexical(), texts[at], gates[at]);
            self.document(texts[at], lexical, product)
        })
    }

    /// The weights of queries whose dense vectors are known, expanded as `expansion` says.
    ///
    /// # Panics
    /// As [`Expander::documents`].
    #[must_use]
    pub fn expanded_queries(
        &self,
        texts: &[&str],
        vectors: &[&[f32]],
        expansion: QueryExpansion,
    ) -> Vec<SparseEncoding> {
        let mean = &self.lift.means().queries;
        self.in_rows(texts, vectors, mean, |at, product| {
            let text = texts[at];
            let mut encoding = self.query(text);
            for (_, weight) in &mut encoding.tokens {
                *weight *= expansion.own_weight;
            }
            if !text.trim().is_empty() {
                self.add(&mut encoding, strongest(product, expansion.weight, expansion.top, 0.0));
            }
            encoding
        })
    }

    /// What `encode` makes of each text, by its number, and its product.
    fn in_rows(
        &self,
        texts: &[&str],
        vectors: &[&[f32]],
        mean: &[f32],
        encode: impl Fn(usize, &[f32]) -> SparseEncoding + Sync,
    ) -> Vec<SparseEncoding> {
        assert_eq!(texts.len(), vectors.len(), "a vector for each text");
        let terms = self.lift.config().terms;
        let chunks = vectors.par_chunks(ROWS).enumerate();
        let encoded = chunks.map(|(chunk, vectors)| {
            let products = self.products(vectors, mean);
            let rows = (chunk * ROWS..).zip(products.chunks_exact(terms));
            rows.map(|(at, product)| encode(at, product)).collect()
        });
        let encoded: Vec<Vec<SparseEncoding>> = encoded.collect();
        encoded.into_iter().flatten().collect()
    }

    /// `W (e - mean)` of each vector, row by row.
    fn products(&self, vectors: &[&[f32]], mean: &[f32]) -> Vec<f32> {
        let (terms, width) = (self.matrix.outputs(), self.matrix.inputs());
        let mut centred = Vec::with_capacity(vectors.len() * width);
        for vector in vectors {
            assert_eq!(vector.len(), width, "vectors are as wide as W");
            centred.extend(vector.iter().zip(mean).map(|(x, mean)| x - mean));
        }
        let mut rows = PackedRows::default();
        rows.pack(self.kernels, self.matrix.precision(), &centred, width);
        let mut products = vec![0.0; vectors.len() * terms];
        let panels = 0..self.matrix.num_panels();
        self.matrix
            .multiply(self.kernels, &rows, panels, |panel, row, product| {
                let start = panel * LANES;
                let len = LANES.min(terms - start);
                for (at, lanes) in product.iter().enumerate() {
                    products[(row + at) * terms + start..][..len].copy_from_slice(&lanes[..len]);
                }
            });
        products
    }

    fn document(&self, text: &str, lexical: SparseEncoding, product: &[f32]) -> SparseEncoding {
        let mut encoding = lexical;
        if text.trim().is_empty() {
            return encoding;
        }
        let config = self.lift.config();
        let mut expansion = strongest(product, config.factor, config.top, config.min_weight);
        if config.own_entries {
            let mut own = Vec::with_capacity(encoding.tokens.len());
            for (stem, weight) in &mut encoding.tokens {
                let Some(id) = self.lift.id(stem) else { continue };
                *weight = (*weight + config.factor * product[id]).max(*weight * LEAST_SHARE);
                own.push(id);
            }
            own.sort_unstable();
            expansion.retain(|(term, _)| own.binary_search(term).is_err());
        }
        self.add(&mut encoding, expansion);
        encoding
    }

    /// Adds the weights of some stems to those of a text.
    fn add(&self, encoding: &mut SparseEncoding, expansion: Vec<(usize, f32)>) {
        let tokens = &mut encoding.tokens;
        let stem = |(term, weight): (usize, f32)| (self.lift.stems()[term].clone(), weight);
        tokens.extend(expansion.into_iter().map(stem));
        // A stable sort: a stem's own weight comes before its expansion, so that sums are always the same.
        tokens.sort_by(|a, b| a.0.cmp(&b.0));
        tokens.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1 += next.1;
            }
            same
        });
    }
}

/// The `top` largest of `factor` times `product` that are above `min_weight`, with their terms, in no stated order; of
/// equal ones those of lower terms.
fn strongest(product: &[f32], factor: f32, top: usize, min_weight: f32) -> Vec<(usize, f32)> {
    let weights = product.iter().map(|value| value * factor).enumerate();
    let mut kept: Vec<(usize, f32)> = weights.filter(|&(_, weight)| weight > min_weight).collect();
    if top < kept.len() {
        kept.select_nth_unstable_by(top, |a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        kept.truncate(top);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lexical::{Lexical, LexicalOptions};
    use crate::{Encoder, InputKind};
    use crate::{LiftConfig, LiftMeans, LongText};
    use proptest::prelude::*;

    fn expander(top: usize, precision: Precision) -> Expander {
        let config = LiftConfig {
            lexical: LexicalOptions::default(),
            terms: 3,
            width: 2,
            default_idf: 9.0,
            factor: 2.0,
            top,
            min_weight: 0.0,
            own_entries: false,
            gate_layers: 0,
            long_text: LongText::Truncate,
            query_weighting: crate::QueryWeighting::Model,
            query_expansion: None,
        };
        let stems = ["mill", "flour", "siev"].map(str::to_owned).to_vec();
        let weights = [1.0, 0.0, 0.0, 1.0, -1.0, 1.0];
        let means = LiftMeans {
            documents: vec![0.5, 0.0],
            queries: vec![0.0, 0.25],
        };
        let lift = Lift::new(config, stems, vec![1.0, 2.0, 3.0], &weights, means);
        Expander::new(lift.expect("valid"), precision)
    }

    #[test]
    fn documents_are_the_sum_of_both_parts() {
        let text = "Fine flour";
        let lexical = Lexical::new(LexicalOptions::default()).expect("defaults");
        let lexical = lexical.encode(InputKind::Document, &[text]).expect("any text")[0].tokens[0].1;
        // The product: mill .25, flour .25, siev 0.
        let encoded = expander(3, Precision::F32).documents(&[text], &[&[0.75, 0.25]]);
        let expected = [("fine", lexical), ("flour", lexical + 0.5), ("mill", 0.5)];
        assert_eq!(encoded[0].tokens.len(), expected.len());
        for ((token, weight), (term, value)) in encoded[0].tokens.iter().zip(expected) {
            assert!(
                token == term && (weight - value).abs() < 1e-6,
                "{token}: {weight}, {value}"
            );
        }
        let one = expander(1, Precision::F32).documents(&[text], &[&[0.75, 0.25]]);
        assert_eq!(one[0].tokens[1].0, "flour");
        assert_eq!(
            one[0].tokens.len(),
            3,
            "of equal weights the first stem's is kept: {one:?}"
        );
        let none = expander(3, Precision::F32).documents(&[" \n"], &[&[0.75, 0.25]]);
        assert!(none[0].tokens.is_empty());
    }

    #[test]
    fn own_stems_take_their_entries_whatever_their_rank_and_sign() {
        let texts = ["a sieve of rye"; 2];
        // Products: mill .25, flour .25, siev 0, and -.25, .5, .75.
        let vectors: [&[f32]; 2] = [&[0.75, 0.25], &[0.25, 0.5]];
        let lexical = Lexical::new(LexicalOptions::default()).expect("defaults");
        let own = lexical.encode(InputKind::Document, &texts[..1]).expect("any text")[0].tokens[0].1;
        let mut expander = expander(1, Precision::F32);
        expander.lift = expander.lift.with_own_entries(true);
        let found = expander.documents(&texts, &vectors);
        let expected = [
            [("mill", 0.5), ("rye", own), ("siev", own)].to_vec(),
            [("rye", own), ("siev", own + 1.5)].to_vec(),
        ];
        for (found, expected) in found.iter().zip(expected) {
            let stems: Vec<&str> = found.tokens.iter().map(|(stem, _)| stem.as_str()).collect();
            assert_eq!(stems, expected.iter().map(|(stem, _)| *stem).collect::<Vec<_>>());
            for ((stem, weight), (_, expected)) in found.tokens.iter().zip(expected) {
                assert!((weight - expected).abs() < 1e-6, "{stem}: {weight}, {expected}");
            }
        }
        let far = expander.documents(&texts[..1], &[&[9.0, 0.0]]);
        let weight = far[0].tokens.iter().find(|(stem, _)| stem == "siev").expect("kept").1;
        assert!(
            (weight - own / 4.0).abs() < 1e-6,
            "{weight} of {own}: no less than a quarter"
        );
    }

    #[test]
    fn queries_are_counts_times_idf() {
        let query = expander(3, Precision::Int8).query("sieves for the sieve of rye flour");
        let expected = [("flour", 2.0), ("rye", 9.0), ("siev", 6.0)].map(|(stem, weight)| (stem.to_owned(), weight));
        assert_eq!(query.tokens, expected);
    }

    #[test]
    fn expanded_queries_are_a_share_of_the_look_up_and_the_strongest_of_the_product() {
        let expansion = QueryExpansion {
            top: 1,
            ..Default::default()
        };
        // The product: mill .5, flour .25, siev -.25; its largest entry counts twice, own weights half.
        let expander = expander(3, Precision::F32);
        let found = expander.expanded_queries(&["mill flour", " "], &[&[0.5, 0.5], &[0.5, 0.5]], expansion);
        let expected = [("flour", 1.0), ("mill", 1.5)].map(|(stem, weight)| (stem.to_owned(), weight));
        assert_eq!(found[0].tokens, expected);
        assert!(found[1].tokens.is_empty());
    }

    proptest! {
        #[test]
        fn the_strongest_are_those_of_a_full_sort(
            product in prop::collection::vec(-4i8..4, 0..60), top in 0usize..20, least in 0i8..3,
        ) {
            let product: Vec<f32> = product.into_iter().map(f32::from).collect();
            let mut found = strongest(&product, 0.5, top, f32::from(least));
            found.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            let mut all: Vec<(usize, f32)> = product.iter().map(|x| x * 0.5).enumerate().collect();
            all.retain(|&(_, weight)| weight > f32::from(least));
            all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            all.truncate(top);
            prop_assert_eq!(found, all);
        }

        #[test]
        fn alone_and_together_are_the_same(values in prop::collection::vec(-1f32..1.0, 2 * 21)) {
            let vectors: Vec<&[f32]> = values.chunks(2).collect();
            let texts = vec!["fine flour of the mill"; vectors.len()];
            for precision in [Precision::F32, Precision::Int16, Precision::Int8] {
                let expander = expander(2, precision);
                let together = expander.documents(&texts, &vectors);
                for (at, vector) in vectors.iter().enumerate() {
                    prop_assert_eq!(&expander.documents(&texts[..1], &[vector])[0], &together[at]);
                }
            }
        }
    }
}
