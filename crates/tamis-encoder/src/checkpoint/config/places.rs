//! How the layers of a model know places: rotary embeddings with their scaling, and how far attention reaches.

use super::Family;
use crate::Error;
use crate::checkpoint::json::JsonFile;
use crate::transformer::Rotary;
use serde_json::Value;
use std::sync::Arc;

/// What `config.json` says of the attention of one layer.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Places {
    pub(in super::super) rotary: Option<Rotary>,
    /// A token attends to those at most this far away; to all without one.
    pub(in super::super) window: Option<usize>,
}

/// The places of all layers, each head of which is `size` wide.
pub(super) fn places(file: &JsonFile, family: Family, layers: usize, size: usize) -> Result<Vec<Places>, Error> {
    match family {
        Family::Bert | Family::DistilBert | Family::Roberta => Ok(vec![Places::default(); layers]),
        Family::ModernBert => alternating(file, layers, size),
        Family::New | Family::Gte => {
            let rotary = Some(plain_rotary(file, family)?.of(size));
            Ok(vec![Places { rotary, window: None }; layers])
        }
    }
}

/// ModernBERT (Warner et al., 2024): some layers see everything, the others a window, each kind with its own base.
///
/// Written by transformers 5 as `layer_types` and `rope_parameters`, before as one number for each.
fn alternating(file: &JsonFile, layers: usize, size: usize) -> Result<Vec<Places>, Error> {
    let every = file.count_or("global_attn_every_n_layers", 1..=1 << 10, 3)?;
    let window = file.count_or("local_attention", 1..=1 << 20, 128)? / 2;
    if let Some(scaling) = file.get("rope_scaling") {
        let expected = "nothing (rope_parameters names a scaling for each kind of layer)";
        return Err(Error::field(&file.path, "rope_scaling", expected, scaling));
    }
    let of_kind = |kind: &str, theta: f64| {
        let field = format!("rope_parameters.{kind}");
        let fields = file.get("rope_parameters").and_then(|kinds| kinds.get(kind));
        rotary(file, &field, fields.filter(|fields| !fields.is_null()), theta)
    };
    let global_theta = number(file, "global_rope_theta", file.get("global_rope_theta"), 160_000.0)?;
    let local_theta = match file.value.get("local_rope_theta") {
        // Before version 5: spelled out as null, local layers share the global base.
        Some(Value::Null) => global_theta,
        value => number(file, "local_rope_theta", value, 10_000.0)?,
    };
    let global = Places {
        rotary: Some(of_kind("full_attention", global_theta)?.of(size)),
        window: None,
    };
    let local = Places {
        rotary: Some(of_kind("sliding_attention", local_theta)?.of(size)),
        window: Some(window),
    };
    let Some(types) = file.get("layer_types") else {
        let place = |at: usize| if at.is_multiple_of(every) { &global } else { &local };
        return Ok((0..layers).map(|at| place(at).clone()).collect());
    };
    let wrong = || {
        let expected = format!("{layers} times \"full_attention\" or \"sliding_attention\"");
        Error::field(&file.path, "layer_types", expected, types)
    };
    let list = types.as_array().filter(|list| list.len() == layers).ok_or_else(wrong)?;
    let place = |kind: &Value| match kind.as_str() {
        Some("full_attention") => Ok(global.clone()),
        Some("sliding_attention") => Ok(local.clone()),
        _ => Err(wrong()),
    };
    list.iter().map(place).collect()
}

/// GTE: one rotary embedding for all layers, in `rope_theta` and `rope_scaling` or, by transformers 5, in
/// `rope_parameters`.
fn plain_rotary(file: &JsonFile, family: Family) -> Result<RotaryConfig, Error> {
    let default = if family == Family::Gte { 160_000.0 } else { 10_000.0 };
    let theta = number(file, "rope_theta", file.get("rope_theta"), default)?;
    let field = ["rope_parameters", "rope_scaling"]
        .into_iter()
        .find(|field| file.get(field).is_some());
    match field {
        Some(field) => rotary(file, field, file.get(field), theta),
        None => rotary(file, "rope_scaling", None, theta),
    }
}

/// A rotary embedding as configured.
#[derive(Clone, Copy, Debug, PartialEq)]
struct RotaryConfig {
    theta: f64,
    scaling: Scaling,
}

/// How a rotary embedding is stretched over longer texts than the model was first trained on.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Scaling {
    None,
    /// Positions divided by a factor (Chen et al., 2023).
    Linear(f64),
    /// Fixed NTK scaling: a larger base, and all frequencies divided by the factor's `2 / size`-th power.
    Ntk(f64),
    /// Mixed NTK scaling: frequency m of n, counted from 1, divided by `factor ^ ((m / n) ^ power)`.
    MixedNtk {
        factor: f64,
        power: f64,
    },
}

impl RotaryConfig {
    /// The frequencies for heads that are `size` wide: `theta ^ (-2 i / size)`, scaled.
    ///
    /// NTK scaling as GTE has it: Su Jianlin's notes at kexue.fm/archives/9706, equations 6 and 10 to 13.
    fn of(&self, size: usize) -> Rotary {
        #[expect(clippy::cast_precision_loss, reason = "heads stay far below 2^52 wide")]
        let number = |count: usize| count as f64;
        let half = size / 2;
        let frequency = |i: usize| {
            let exponent = -2.0 * number(i) / number(size);
            match self.scaling {
                Scaling::None => self.theta.powf(exponent),
                Scaling::Linear(factor) => self.theta.powf(exponent) / factor,
                Scaling::Ntk(factor) => (self.theta * factor).powf(exponent) / factor.powf(2.0 / number(size)),
                Scaling::MixedNtk { factor, power } => {
                    let share = (number(i + 1) / number(half)).powf(power);
                    self.theta.powf(exponent) / factor.powf(share)
                }
            }
        };
        #[expect(
            clippy::cast_possible_truncation,
            reason = "rounded to the precision of the computation"
        )]
        let inverse_frequencies: Arc<[f32]> = (0..half).map(|i| frequency(i) as f32).collect();
        Rotary { inverse_frequencies }
    }
}

/// The rotary embedding in the object `fields` that stands under `field`, with base `theta` where it names none.
fn rotary(file: &JsonFile, field: &str, fields: Option<&Value>, theta: f64) -> Result<RotaryConfig, Error> {
    let part = |name: &str| {
        fields
            .and_then(|fields| fields.get(name))
            .filter(|part| !part.is_null())
    };
    let path = |name: &str| format!("{field}.{name}");
    if let Some(fields) = fields.filter(|fields| !fields.is_object()) {
        return Err(Error::field(&file.path, field, "an object", fields));
    }
    if let Some(partial) = part("partial_rotary_factor").filter(|partial| partial.as_f64() != Some(1.0)) {
        return Err(Error::field(&file.path, &path("partial_rotary_factor"), "1", partial));
    }
    let theta = number(file, &path("rope_theta"), part("rope_theta"), theta)?;
    let factor = || match part("factor") {
        None => Err(Error::field(&file.path, &path("factor"), "a number", "nothing")),
        factor => number(file, &path("factor"), factor, 1.0),
    };
    let kind = part("rope_type").or_else(|| part("type"));
    let scaling = match kind.map(|kind| kind.as_str()) {
        None | Some(Some("default")) => Scaling::None,
        Some(Some("linear")) => Scaling::Linear(factor()?),
        Some(Some("ntk")) => match (factor()?, part("mixed_b")) {
            (factor, _) if factor < 1.0 => {
                return Err(Error::field(&file.path, &path("factor"), "at least 1", factor));
            }
            (factor, None) => Scaling::Ntk(factor),
            (factor, power) => Scaling::MixedNtk {
                factor,
                power: number(file, &path("mixed_b"), power, 1.0)?,
            },
        },
        Some(_) => {
            let expected = "\"default\", \"linear\" or \"ntk\"";
            let found = kind.map_or_else(String::new, Value::to_string);
            return Err(Error::field(&file.path, &path("rope_type"), expected, found));
        }
    };
    Ok(RotaryConfig { theta, scaling })
}

/// A positive number, or `default` where there is none.
fn number(file: &JsonFile, field: &str, value: Option<&Value>, default: f64) -> Result<f64, Error> {
    let Some(value) = value else {
        return Ok(default);
    };
    let number = value.as_f64().filter(|&number| number > 0.0 && number < 1e12);
    number.ok_or_else(|| Error::field(&file.path, field, "a number above 0 and below 1e12", value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frequencies(theta: f64, scaling: Scaling, size: usize) -> Vec<f32> {
        RotaryConfig { theta, scaling }.of(size).inverse_frequencies.to_vec()
    }

    #[test]
    fn frequencies_fall_from_one_towards_the_inverse_of_the_base() {
        assert_eq!(frequencies(16.0, Scaling::None, 8), [1.0, 0.5, 0.25, 0.125]);
        assert_eq!(frequencies(16.0, Scaling::Linear(4.0), 4), [0.25, 0.0625]);
    }

    #[test]
    fn ntk_scaling_reaches_the_factor_at_the_lowest_frequency() {
        let (plain, factor) = (frequencies(100.0, Scaling::None, 8), 3.0f32);
        for scaling in [
            Scaling::Ntk(3.0),
            Scaling::MixedNtk {
                factor: 3.0,
                power: 0.5,
            },
        ] {
            let scaled = frequencies(100.0, scaling, 8);
            let ratio = |at: usize| plain[at] / scaled[at];
            assert!((ratio(3) - factor).abs() < 1e-5, "{scaling:?}: {}", ratio(3));
            assert!((0..3).all(|at| ratio(at) < ratio(at + 1)), "{scaling:?}");
        }
        let mixed = Scaling::MixedNtk {
            factor: 3.0,
            power: 0.5,
        };
        let second = frequencies(100.0, mixed, 8)[1];
        let expected = plain[1] / factor.powf(0.5f32.sqrt());
        assert!((second - expected).abs() < 1e-6, "{second}, {expected} expected");
    }
}
