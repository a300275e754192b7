//! What the stems of queries weigh: the idf table of a lifted model, fixed or learned.
//!
//! A learned weight takes its stem's row of W along, as in the encoder: queries are `idf` times their bag, and what they
//! ask of dense vectors is `W^T` of that. Learned query weights without a network are Li-LSR's (Nardini et al., SIGIR 2025).

use crate::Error;
use crate::lifted::Lift;
use crate::training::NamedVariable;
use candle_core::{DType, Device, Tensor, Var};

/// The least that a learned weight becomes: queries keep all of their stems.
const LEAST: f64 = 0.01;

/// The stems of a step's queries.
pub(super) struct Stems {
    /// Of each its row in the table, if it has one.
    ids: Vec<Option<usize>>,
}

impl Stems {
    pub(super) fn of<'a>(lift: &Lift, stems: impl Iterator<Item = &'a str>) -> Self {
        Self {
            ids: stems.map(|stem| lift.id(stem)).collect(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Their rows of W, `[stems, width]`; zeros for a stem without one.
    pub(super) fn rows(&self, lift: &Lift) -> Vec<f32> {
        let width = lift.config().width;
        let mut rows = vec![0.0; self.len() * width];
        for (row, id) in rows.chunks_exact_mut(width).zip(&self.ids) {
            if let Some(id) = *id {
                lift.add_row(id, 1.0, row);
            }
        }
        rows
    }
}

/// The idf table and the weight of stems that it lacks.
pub(super) struct QueryWeights {
    /// `[terms]`.
    idf: Var,
    /// `[1]`.
    default: Tensor,
    is_learned: bool,
}

impl QueryWeights {
    pub(super) fn new(lift: &Lift, is_learned: bool, (dtype, device): (DType, &Device)) -> Result<Self, Error> {
        let tensor = |values: &[f32]| Tensor::from_slice(values, values.len(), device)?.to_dtype(dtype);
        Ok(Self {
            idf: Var::from_tensor(&tensor(lift.idf_table())?)?,
            default: tensor(&[lift.config().default_idf])?,
            is_learned,
        })
    }

    pub(super) fn variable(&self) -> Option<NamedVariable> {
        self.is_learned.then(|| NamedVariable {
            name: "query.idf".to_owned(),
            var: self.idf.clone(),
        })
    }

    /// The weights of `stems`, `[stems]`; there must be some.
    pub(super) fn of(&self, stems: &Stems, tracked: bool) -> Result<Tensor, Error> {
        let terms = self.idf.dim(0)?;
        let ids = stems.ids.iter().map(|id| super::index(id.unwrap_or(terms)));
        let ids = ids.collect::<Result<Vec<u32>, Error>>()?;
        let ids = Tensor::from_vec(ids, stems.len(), self.idf.device())?;
        let table = match tracked && self.is_learned {
            true => self.idf.as_tensor().maximum(LEAST)?,
            false => self.idf.detach().maximum(LEAST)?,
        };
        Ok(Tensor::cat(&[&table, &self.default], 0)?.index_select(&ids, 0)?)
    }

    /// The table as it stands, where it is learned.
    pub(super) fn learned(&self) -> Result<Option<Vec<f32>>, Error> {
        if !self.is_learned {
            return Ok(None);
        }
        Ok(Some(self.idf.maximum(LEAST)?.to_dtype(DType::F32)?.to_vec1::<f32>()?))
    }
}
