//! What AdamW is told: one place for its defaults.

use crate::Error;
use crate::training::{not_negative, positive, refused};
use serde::{Deserialize, Serialize};

/// The constants of AdamW and how groups of variables differ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamWOptions {
    /// How much of the mean of gradients stays at a step, 0 or more and below 1. Default 0.9.
    pub beta1: f64,
    /// How much of the mean of squared gradients stays at a step, 0 or more and below 1. Default 0.999.
    pub beta2: f64,
    /// What is added to the root of the second moment, above 0. Default 1e-8.
    pub epsilon: f64,
    /// The share of a variable, times the learning rate, that is taken away at a step; 0 or more. Default 0.01.
    pub weight_decay: f64,
    /// Names of variables that do not decay. Default: biases, normalisations and learned scales.
    pub no_decay: Vec<String>,
    /// Variables that are treated otherwise; the first group that matches counts. Default: none.
    pub groups: Vec<ParameterGroup>,
}

/// Variables by their names, and what is different for them.
///
/// In patterns `*` stands for any letters, and case does not matter: `*.embeddings.*`, `query.idf`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParameterGroup {
    /// Names that belong to it.
    pub patterns: Vec<String>,
    /// What the learning rate is multiplied by, 0 or more. Default 1. (sentence-transformers trains an IDF table at
    /// 1e-3 where the rest has 2e-5: 50.)
    #[serde(default = "one")]
    pub rate_factor: f64,
    /// Their weight decay, 0 or more. Default: as for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
    /// Whether they are not trained at all. Default: no.
    #[serde(default)]
    pub frozen: bool,
}

fn one() -> f64 {
    1.0
}

impl Default for AdamWOptions {
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.01,
            no_decay: ["*bias", "*norm*", "*_ln.*", "*scale"].map(str::to_owned).to_vec(),
            groups: Vec::new(),
        }
    }
}

/// What holds for one variable.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) rate_factor: f64,
    pub(super) weight_decay: f64,
    pub(super) frozen: bool,
}

impl AdamWOptions {
    /// Checks every range.
    ///
    /// # Errors
    /// Names the first option that is out of its range.
    pub fn validate(&self) -> Result<(), Error> {
        for (name, beta) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            if !(0.0..1.0).contains(&beta) {
                return Err(refused(
                    format!("optimiser.{name}"),
                    beta,
                    "a number of 0 or more and below 1",
                ));
            }
        }
        positive("optimiser.epsilon", self.epsilon)?;
        not_negative("optimiser.weight_decay", self.weight_decay)?;
        for (at, group) in self.groups.iter().enumerate() {
            let place = format!("optimiser.groups[{at}]");
            if group.patterns.is_empty() {
                return Err(refused(format!("{place}.patterns"), "empty", "at least one pattern"));
            }
            not_negative(format!("{place}.rate_factor"), group.rate_factor)?;
            not_negative(format!("{place}.weight_decay"), group.weight_decay.unwrap_or(0.0))?;
        }
        Ok(())
    }

    /// Whether the variable of this name is not trained.
    pub fn is_frozen(&self, name: &str) -> bool {
        self.of(name).frozen
    }

    /// What holds for the variable of this name.
    pub(super) fn of(&self, name: &str) -> Settings {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, name));
        let decay = if any(&self.no_decay) { 0.0 } else { self.weight_decay };
        let group = self.groups.iter().find(|group| any(&group.patterns));
        Settings {
            rate_factor: group.map_or(1.0, |group| group.rate_factor),
            weight_decay: group.and_then(|group| group.weight_decay).unwrap_or(decay),
            frozen: group.is_some_and(|group| group.frozen),
        }
    }
}

/// Whether a name fits a pattern in which `*` stands for any letters. Case does not matter.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.to_lowercase(), name.to_lowercase());
    let Some((head, tail)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut rest) = name.strip_prefix(head) else {
        return false;
    };
    // Each middle part where it comes first; the last one at the end.
    let parts: Vec<&str> = tail.split('*').collect();
    let (last, middle) = parts.split_last().expect("split gives a part at least");
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, expected) in [
            ("*bias", "cls.predictions.bias", true),
            ("*bias", "bias.weight", false),
            ("*norm*", "bert.embeddings.LayerNorm.gamma", true),
            ("query.idf", "query.idf", true),
            ("query.idf", "query.idf.weight", false),
            (
                "bert.*.layer.*.weight",
                "bert.encoder.layer.0.output.dense.weight",
                true,
            ),
            ("bert.*.layer.*.weight", "bert.encoder.layer.0.output.dense.bias", false),
            ("a*a", "a", false),
            ("*", "", true),
            ("**", "x", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} on {name}");
        }
    }

    #[test]
    fn biases_and_normalisations_do_not_decay() {
        let options = AdamWOptions::default();
        for name in [
            "bert.encoder.layer.0.attention.self.query.bias",
            "bert.encoder.layer.0.output.LayerNorm.weight",
            "distilbert.transformer.layer.1.sa_layer_norm.weight",
            "vocab_layer_norm.weight",
            "model.layers.3.attn_norm.weight",
            "new.encoder.layer.2.mlp_ln.weight",
            "query.scale",
        ] {
            assert_eq!(options.of(name).weight_decay, 0.0, "{name}");
        }
        for name in [
            "bert.embeddings.word_embeddings.weight",
            "vocab_projector.weight",
            "tok_proj.weight",
        ] {
            assert_eq!(options.of(name).weight_decay, 0.01, "{name}");
        }
    }

    #[test]
    fn the_first_group_that_matches_counts() {
        let group = |pattern: &str, rate_factor, frozen| ParameterGroup {
            patterns: vec![pattern.to_owned()],
            rate_factor,
            weight_decay: None,
            frozen,
        };
        let options = AdamWOptions {
            groups: vec![group("*idf", 50.0, false), group("query.*", 2.0, true)],
            ..AdamWOptions::default()
        };
        assert_eq!(options.of("query.idf").rate_factor, 50.0);
        assert!(!options.is_frozen("query.idf") && options.is_frozen("query.head.bias"));
        assert_eq!(options.of("document.bias").rate_factor, 1.0);
    }

    #[test]
    fn options_out_of_range_are_named() {
        let good = AdamWOptions::default;
        let group = |patterns: &[&str], rate_factor| ParameterGroup {
            patterns: patterns.iter().map(|&pattern| pattern.to_owned()).collect(),
            rate_factor,
            weight_decay: None,
            frozen: false,
        };
        let cases = [
            ("optimiser.beta1", AdamWOptions { beta1: 1.0, ..good() }),
            ("optimiser.beta2", AdamWOptions { beta2: -0.1, ..good() }),
            ("optimiser.epsilon", AdamWOptions { epsilon: 0.0, ..good() }),
            (
                "optimiser.weight_decay",
                AdamWOptions {
                    weight_decay: f64::NAN,
                    ..good()
                },
            ),
            (
                "optimiser.groups[0].patterns",
                AdamWOptions {
                    groups: vec![group(&[], 1.0)],
                    ..good()
                },
            ),
            (
                "optimiser.groups[1].rate_factor",
                AdamWOptions {
                    groups: vec![group(&["a"], 1.0), group(&["b"], -1.0)],
                    ..good()
                },
            ),
        ];
        for (name, options) in cases {
            let message = options.validate().expect_err("refused").to_string();
            assert!(message.contains(name), "{message}");
        }
        assert!(serde_json::from_str::<AdamWOptions>(r#"{"eps": 1e-8}"#).is_err());
        assert_eq!(serde_json::from_str::<AdamWOptions>("{}").expect("defaults"), good());
    }
}
