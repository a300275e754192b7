//! How sparse representations are: lengths and expected products.

use crate::Error;
use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};

/// How sparse a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sparsity {
    /// The mean number of query weights other than 0.
    pub query_length: f64,
    /// The mean number of document weights other than 0.
    pub document_length: f64,
    /// The expected products of a query with a document: the sum over vocabulary entries of the share of queries times
    /// the share of documents that have the entry.
    pub flops: f64,
}

impl Sparsity {
    /// Measures queries, `[b, V]`, and documents, `[n, V]`. Nothing of it is differentiated.
    ///
    /// # Errors
    /// When the shapes do not fit each other.
    pub fn measure(queries: &Tensor, documents: &Tensor) -> Result<Self, Error> {
        let [queries, documents] = [queries, documents].map(shares);
        let (queries, documents) = (queries?, documents?);
        if queries.len() != documents.len() {
            return Err(Error::TrainingShape {
                input: "documents".to_owned(),
                found: vec![documents.len()],
                expected: format!("as wide as queries, [{}]", queries.len()),
            });
        }
        Ok(Self {
            query_length: queries.iter().sum(),
            document_length: documents.iter().sum(),
            flops: queries
                .iter()
                .zip(&documents)
                .map(|(query, document)| query * document)
                .sum(),
        })
    }
}

/// The share of rows in which each column is not 0.
fn shares(rows: &Tensor) -> Result<Vec<f64>, Error> {
    let (number, _) = rows.dims2()?;
    let active = rows.detach().ne(0.0)?.to_dtype(DType::U32)?.sum(0)?.to_vec1::<u32>()?;
    #[expect(clippy::cast_precision_loss, reason = "a batch has far fewer than 2^53 rows")]
    let number = number.max(1) as f64;
    Ok(active.into_iter().map(|active| f64::from(active) / number).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn lengths_and_products_are_means_over_rows() {
        let queries = Tensor::new(&[[1.0f32, 0.0, 0.0], [0.5, -1.0, 0.0]], &Device::Cpu).expect("small");
        let documents = Tensor::new(
            &[[0.0f32, 2.0, 1.0], [1.0, 1.0, 0.0], [0.0; 3], [3.0, 1.0, 0.0]],
            &Device::Cpu,
        );
        let sparsity = Sparsity::measure(&queries, &documents.expect("small")).expect("fits");
        assert_eq!(sparsity.query_length, 1.5);
        assert_eq!(sparsity.document_length, 1.5);
        assert_eq!(sparsity.flops, 1.0 * 0.5 + 0.5 * 0.75);
    }
}
