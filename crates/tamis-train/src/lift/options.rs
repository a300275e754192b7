//! How a dense encoder is lifted: one place for every default.

use crate::error::Error;
use serde::{Deserialize, Serialize};
use tamis_encoder::lexical::LexicalOptions;
use tamis_encoder::{LongText, MAX_LIFT_TERMS, QueryWeighting};

/// How a lifted model holds the matrices of its dense encoder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BaseWeights {
    /// In 8 bits with a scale a row, a quarter of single precision.
    #[default]
    Int8,
    /// As its library saved them.
    Original,
}

/// How a dense encoder is lifted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LiftOptions {
    /// The most stems with a row of W: those that most background texts have. Default 37,000.
    pub num_terms: usize,
    /// How close W stays to the vectors of single words, above 0: the weight of a row's squared distance, where each
    /// query's squared error weighs 1 and is measured in the scale of the words' vectors. Default 300.
    pub lambda: f64,
    /// What expansion weights are multiplied by, 0 or more. Default 2.
    pub factor: f32,
    /// A stem that a larger share of the queries has, averaged over their sources, weighs no more than the negative
    /// logarithm of that share: "what" is rare in texts, and still asks for nothing. From 0 to 1; 1 for never.
    /// Default 0.01.
    pub query_share: f64,
    /// How many stems a document is expanded by at most. Default 256.
    pub top: usize,
    /// Expansion weights are kept that are above this, 0 or more: shorter documents where they say little. Default 0.
    pub min_weight: f32,
    /// How the model reads texts that are longer than the dense encoder takes: cut, or in parts. W is solved for short
    /// ones. Default: in up to 4 parts.
    pub long_text: LongText,
    /// The document weight of a text's own stems. Default: that of the lexical encoder.
    pub lexical: LexicalOptions,
    /// The most queries that W is solved on, 1 or more; of more, a sample. Default 150,000.
    pub max_queries: usize,
    /// The most background texts that stems are counted in, 1 or more; of more, a sample. Default 100,000.
    pub max_background: usize,
    /// The most background texts whose dense vectors are averaged, 1 or more. Default 1,000.
    pub max_documents: usize,
    /// What the weights of the model's queries still need in an index. Default: the root of its idf. A background idf
    /// alone takes the common words of a narrow collection for rare ones.
    pub query_weighting: QueryWeighting,
    /// Queries of these sources (the field `src` of their lines) are left out: they are held out for judging.
    pub excluded_sources: Vec<String>,
}

impl Default for LiftOptions {
    fn default() -> Self {
        Self {
            num_terms: 37_000,
            lambda: 300.0,
            factor: 2.0,
            query_share: 0.01,
            top: 256,
            min_weight: 0.0,
            long_text: LongText::PARTS,
            lexical: LexicalOptions::default(),
            max_queries: 150_000,
            max_background: 100_000,
            max_documents: 1000,
            query_weighting: QueryWeighting::TimesRootIndexIdf,
            excluded_sources: Vec::new(),
        }
    }
}

impl LiftOptions {
    /// Checks every range; those of the model itself are checked where it is made.
    ///
    /// # Errors
    /// [`Error::LiftOption`] names the first option that is out of its range.
    pub fn validate(&self) -> Result<(), Error> {
        let option = |option, valid: bool, value: String, allowed| match valid {
            true => Ok(()),
            false => Err(Error::LiftOption { option, value, allowed }),
        };
        let terms = self.num_terms;
        option(
            "num_terms",
            (1..=MAX_LIFT_TERMS).contains(&terms),
            terms.to_string(),
            "from 1 to 1,048,576",
        )?;
        option(
            "lambda",
            self.lambda.is_finite() && self.lambda > 0.0,
            self.lambda.to_string(),
            "a finite number above 0",
        )?;
        option(
            "factor",
            self.factor.is_finite() && self.factor >= 0.0,
            self.factor.to_string(),
            "a finite number of 0 or more",
        )?;
        option(
            "min_weight",
            self.min_weight.is_finite() && self.min_weight >= 0.0,
            self.min_weight.to_string(),
            "a finite number of 0 or more",
        )?;
        option(
            "query_share",
            (0.0..=1.0).contains(&self.query_share),
            self.query_share.to_string(),
            "from 0 to 1",
        )?;
        for (name, value) in [
            ("max_queries", self.max_queries),
            ("max_background", self.max_background),
            ("max_documents", self.max_documents),
        ] {
            option(name, value > 0, value.to_string(), "above 0")?;
        }
        Ok(())
    }
}
