//! Heads of one number a token, by the names that their code bases give them, and which heads a checkpoint has.
//!
//! Sources of the names: uniCOIL and TILDEv2 `tok_proj`; DeepImpact (Mallia et al., SIGIR 2021)
//! `impact_score_encoder`; the LSR framework (Nguyen et al., ECIR 2023) `linear`, `term_importance.linear` and
//! `doc_quality.linear`; DeepCT (Dai and Callan, 2020) as a token classifier with one label, `classifier`.

use super::policy::HeadKind;
use super::weights::Weights;
use crate::Error;
use crate::transformer::{InnerLayer, LinearParameters, TokenHead};
use candle_core::Tensor;
use std::path::Path;

/// What may stand before the names of a code base's own wrapper.
pub(super) const WRAPPERS: [&str; 3] = ["", "coil_encoder.", "model."];

const REMEDY: &str = "the checkpoint is incomplete, or config.json is of another one";

/// The layers of one number a token, the surest first; DeepImpact's has a layer before it.
const TOKEN: [(&str, Option<&str>); 4] = [
    ("tok_proj", None),
    ("impact_score_encoder.3", Some("impact_score_encoder.0")),
    ("linear", None),
    ("classifier", None),
];

/// The first layers of masked-language-model heads, by family.
const MLM: [&str; 4] = [
    "cls.predictions.transform.dense.weight",
    "vocab_transform.weight",
    "lm_head.dense.weight",
    "head.dense.weight",
];

/// The head that the tensors call for, where they do.
pub(super) fn detected(weights: &Weights<'_>) -> Option<HeadKind> {
    let token = has_token(weights);
    match (has_mlm(weights), token) {
        // A token head beside a language-model head is the one that was trained.
        (_, Some("tok_proj" | "impact_score_encoder.3")) | (false, Some(_)) => Some(HeadKind::Token),
        (true, _) => Some(HeadKind::Mlm),
        (false, None) => None,
    }
}

pub(super) fn has_mlm(weights: &Weights<'_>) -> bool {
    let names = WRAPPERS
        .iter()
        .flat_map(|outer| MLM.map(|name| format!("{outer}{name}")));
    names.into_iter().any(|name| weights.contains(&name))
}

/// The name of the token head that is there.
pub(super) fn has_token(weights: &Weights<'_>) -> Option<&'static str> {
    let found = |name: &str| {
        WRAPPERS
            .iter()
            .any(|outer| weights.contains(&format!("{outer}{name}.weight")))
    };
    TOKEN.iter().map(|&(name, _)| name).find(|name| found(name))
}

/// Refuses a head that the options call for and the tensors do not have.
pub(super) fn check(weights: &Weights<'_>, path: &Path, wanted: HeadKind, who: &str) -> Result<(), Error> {
    let there = match wanted {
        HeadKind::Mlm => has_mlm(weights),
        HeadKind::Token | HeadKind::Static => has_token(weights).is_some(),
        HeadKind::Embeddings | HeadKind::Binary | HeadKind::Table => true,
    };
    if there {
        return Ok(());
    }
    let expected = match wanted {
        HeadKind::Mlm => format!("tensors of a masked-language-model head, {who},"),
        _ => format!("a layer of one number a token (tok_proj, impact_score_encoder, linear or classifier), {who},"),
    };
    let found = match (has_mlm(weights), has_token(weights)) {
        (_, Some(name)) => format!("{name}.weight"),
        (true, None) => "a masked-language-model head".to_owned(),
        (false, None) => "no head".to_owned(),
    };
    Err(Error::field(path, "head", expected, found))
}

/// The layers of a token head as they are stored.
pub(super) struct TokenLayers {
    /// The layer between, where there is one, `[width, width]`.
    pub(super) inner: Option<LinearParameters>,
    /// `[1, width]`.
    pub(super) outer: LinearParameters,
}

impl TokenLayers {
    /// The head that computes with them in single precision.
    fn head(&self) -> Result<TokenHead, Error> {
        let values = |layer: &LinearParameters| {
            let bias = layer.bias.as_ref().map(Tensor::to_vec1::<f32>).transpose()?;
            Ok::<_, Error>((layer.weight.flatten_all()?.to_vec1()?, bias.unwrap_or_default()))
        };
        let inner = self.inner.as_ref().map(values).transpose()?;
        let (weight, bias) = values(&self.outer)?;
        Ok(TokenHead {
            inner: inner.map(|(weight, bias)| InnerLayer { weight, bias }),
            weight,
            bias: bias[0],
        })
    }
}

/// The token head, which must be there.
///
/// # Errors
/// As [`token_layers`].
pub(super) fn token_head(weights: &Weights<'_>, path: &Path, width: usize) -> Result<TokenHead, Error> {
    token_layers(weights, path, width)?.head()
}

/// The layers of the token head, which must be there.
///
/// # Errors
/// Also when it gives a token more than one number: COIL's vectors, whose inner products no scalar weight stands for.
pub(super) fn token_layers(weights: &Weights<'_>, path: &Path, width: usize) -> Result<TokenLayers, Error> {
    let name = has_token(weights).unwrap_or(TOKEN[0].0);
    let inner = TOKEN.iter().find_map(|&(other, inner)| inner.filter(|_| other == name));
    let outer = linear(weights, name, 1, width).map_err(|error| match error {
        Error::TensorShape { tensor, found, .. } if found.len() == 2 && found[0] > 1 && found[1] == width => {
            let expected = "one number a token: several are the vectors of COIL, whose inner products no index of \
                            single weights can give, so 1 output";
            Error::field(path, &tensor, expected, format!("{} outputs", found[0]))
        }
        other => other,
    })?;
    let inner = inner.map(|inner| linear(weights, inner, width, width)).transpose()?;
    Ok(TokenLayers { inner, outer })
}

/// EPIC's layer `name`, where it is there.
pub(super) fn epic(weights: &Weights<'_>, name: &str, width: usize) -> Result<Option<TokenHead>, Error> {
    let layers = epic_layers(weights, name, width)?;
    layers.map(|layers| layers.head()).transpose()
}

/// As [`epic`], as it is stored.
pub(super) fn epic_layers(weights: &Weights<'_>, name: &str, width: usize) -> Result<Option<TokenLayers>, Error> {
    if !weights.contains(&format!("{name}.linear.weight")) {
        return Ok(None);
    }
    let outer = linear(weights, &format!("{name}.linear"), 1, width)?;
    Ok(Some(TokenLayers { inner: None, outer }))
}

/// Weight and bias of a linear layer under any wrapper.
fn linear(weights: &Weights<'_>, name: &str, outputs: usize, width: usize) -> Result<LinearParameters, Error> {
    let names = |part: &str| WRAPPERS.map(|outer| format!("{outer}{name}.{part}"));
    Ok(LinearParameters {
        weight: weights.tensor(&names("weight"), &[outputs, width], REMEDY)?,
        bias: Some(weights.tensor(&names("bias"), &[outputs], REMEDY)?),
    })
}
