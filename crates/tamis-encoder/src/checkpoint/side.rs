//! One side of a model: texts of one kind to terms with weights.

use super::columns::{Columns, distinct_names};
use super::model::{TextWeights, TransformerModel};
use super::policy::{HeadKind, Scatter, SpecialTokens, TermUnit};
use super::query_lookup::QueryLookup;
use super::settings::SideSettings;
use super::tokenizer::{TextTokenizer, Tokens};
use super::words::words;
use crate::transformer::Weights;
use crate::{Error, InputKind, SparseEncoding};
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use tamis_core::Vocabulary;

/// Terms with their weights, ascending by bytes.
type Terms = Vec<(String, f32)>;

/// How texts of one kind are encoded.
pub(super) struct SideEncoder {
    pub(super) kind: InputKind,
    pub(super) prompt: String,
    pub(super) model: Model,
    pub(super) tokenizer: Arc<TextTokenizer>,
    pub(super) settings: SideSettings,
    /// A weight for each vocabulary entry that those of the text's own tokens are multiplied with: a
    /// SparseStaticEmbedding behind the pooling.
    pub(super) multiplier: Option<Vec<f32>>,
    /// The names of vocabulary entries; empty where only tokens of the text get a weight.
    columns: Columns,
    /// Where the weight of a token depends on the token alone: a short way.
    lookup: Option<QueryLookup>,
}

/// What weighs the tokens.
#[derive(Clone)]
pub(super) enum Model {
    /// One for both sides in symmetric models.
    Transformer(Arc<TransformerModel>),
    /// A weight by token id.
    Table(Arc<Vec<f32>>),
    /// Each token weighs 1.
    Binary,
    /// The directory has the other side alone.
    Absent(PathBuf),
}

impl SideEncoder {
    /// Joins the parts of a side, after the vocabulary was checked against the model.
    pub(super) fn new(
        (kind, prompt): (InputKind, String),
        model: Model,
        tokenizer: Arc<TextTokenizer>,
        settings: SideSettings,
        multiplier: Option<Vec<f32>>,
    ) -> Self {
        let columns = match &model {
            Model::Transformer(model) if matches!(model.kind, HeadKind::Mlm | HeadKind::Embeddings) => {
                Columns::new(model.vocabulary, &tokenizer, settings.special_tokens)
            }
            _ => Columns::default(),
        };
        let mut side = Self {
            kind,
            prompt,
            model,
            tokenizer,
            settings,
            multiplier,
            columns,
            lookup: None,
        };
        if QueryLookup::serves(&side.settings) {
            side.lookup = side.lookup();
        }
        side
    }

    fn lookup(&self) -> Option<QueryLookup> {
        let of = |weight: &dyn Fn(u32) -> f32| {
            let weight = |id| (!self.has_no_column(id)).then(|| weight(id));
            Some(QueryLookup::new(&self.tokenizer, &self.settings, weight))
        };
        match &self.model {
            Model::Table(table) => of(&|id| table.get(id as usize).copied().unwrap_or(0.0)),
            Model::Binary => of(&|_| 1.0),
            Model::Transformer(_) | Model::Absent(_) => None,
        }
    }

    /// All tokens that texts of this side can get; `None` where they are words, of which there is no list.
    pub(super) fn vocabulary(&self) -> Option<Vocabulary> {
        let rows = match (&self.model, self.settings.terms) {
            (_, TermUnit::Words) => return None,
            (Model::Transformer(model), TermUnit::Pieces) => model.vocabulary,
            (Model::Table(_) | Model::Binary | Model::Absent(_), TermUnit::Pieces) => self.tokenizer.num_ids(),
        };
        let mut vocabulary = Vocabulary::new();
        for token in distinct_names(rows, &self.tokenizer) {
            // Names are distinct, and there are fewer of them than there is room.
            let _ = vocabulary.intern(&token);
        }
        Some(vocabulary)
    }

    /// Encodes `texts` in order.
    pub(super) fn encode(&self, texts: &[&str]) -> Result<Vec<SparseEncoding>, Error> {
        if let Some(lookup) = &self.lookup {
            return in_order(texts, |content| Ok(self.look_up(lookup, &self.split(content)?)));
        }
        let texts = in_order(texts, |content| self.split(content))?;
        let windows: Vec<&Tokens> = texts.iter().flatten().collect();
        let weighed = match &self.model {
            Model::Transformer(model) => {
                let finish = |tokens: &Tokens, weights| match weights {
                    TextWeights::Vocabulary(weights) => self.named(tokens, weights),
                    TextWeights::Tokens(weights) => self.scattered(tokens, |at| weights[at]),
                };
                model
                    .encode(&self.settings, &windows, finish)
                    .map_err(|error| text_of_window(error, &texts))?
            }
            Model::Table(table) => {
                let weight = |id: u32| table.get(id as usize).copied().unwrap_or(0.0);
                let of = |tokens: &&Tokens| self.scattered(tokens, |at| weight(tokens.ids[at])).unwrap_or_default();
                windows.iter().map(of).collect()
            }
            Model::Binary => {
                let of = |tokens: &&Tokens| self.scattered(tokens, |_| 1.0).unwrap_or_default();
                windows.iter().map(of).collect()
            }
            Model::Absent(path) => {
                return Err(Error::OneSided {
                    path: path.clone(),
                    kind: self.kind,
                });
            }
        };
        let mut weighed = weighed.into_iter();
        Ok(texts.iter().map(|windows| self.finish(windows, &mut weighed)).collect())
    }

    /// The windows of one text, at least one.
    pub(super) fn split(&self, text: &str) -> Result<Vec<Tokens>, String> {
        let cleaned = self.settings.cleaning.clean(self.kind, text);
        let text = cleaned.as_deref().unwrap_or(text);
        match self.settings.expansion {
            Some(rule) => self.tokenizer.split_expanded(&self.prompt, text, rule),
            None => self.tokenizer.split(&self.prompt, text),
        }
    }

    /// The encoding of a text by the short way.
    fn look_up(&self, lookup: &QueryLookup, windows: &[Tokens]) -> SparseEncoding {
        let mut of_windows = windows.iter().map(|window| lookup.look_up(&window.ids));
        self.finish(windows, &mut of_windows)
    }

    /// One encoding of all windows of a text: of each term the largest weight, pruned.
    fn finish(&self, windows: &[Tokens], weighed: &mut impl Iterator<Item = Terms>) -> SparseEncoding {
        let mut of_windows = weighed.by_ref().take(windows.len());
        let mut tokens = of_windows.next().unwrap_or_default();
        if windows.len() > 1 {
            let mut largest: BTreeMap<String, f32> = tokens.into_iter().collect();
            for (term, weight) in of_windows.flatten() {
                let best = largest.entry(term).or_default();
                *best = best.max(weight);
            }
            tokens = largest.into_iter().collect();
        }
        prune(&self.settings, &mut tokens);
        SparseEncoding {
            tokens,
            num_tokens: windows.iter().map(|window| window.ids.len()).sum(),
            num_windows: windows.len(),
            truncated: windows.iter().any(|window| window.truncated),
        }
    }

    /// The weights above zero with their tokens; `None` when one is not finite.
    fn named(&self, tokens: &Tokens, weights: Weights) -> Option<Terms> {
        if weights.iter().any(|(_, weight)| !weight.is_finite()) {
            return None;
        }
        if self.settings.lexical || self.multiplier.is_some() {
            let weight = |id: u32| match weights.binary_search_by_key(&id, |&(id, _)| id) {
                Ok(at) => weights[at].1,
                Err(_) => 0.0,
            };
            return Some(self.own_tokens(tokens, weight));
        }
        let named = self.columns.named(weights);
        Some(
            named
                .filter(|(token, weight)| *weight > 0.0 && !self.settings.stop_words.drop(token))
                .collect(),
        )
    }

    /// The weights of the text's own tokens, times the table behind the pooling where there is one.
    fn own_tokens(&self, tokens: &Tokens, weight: impl Fn(u32) -> f32) -> Terms {
        // naver's bag of words has no column for these; sentence-transformers' has.
        let hidden =
            |id: u32| self.settings.lexical && (self.tokenizer.added.contains(&id) || self.tokenizer.mask == Some(id));
        let factor = |id: u32| match &self.multiplier {
            Some(table) => table.get(id as usize).copied().unwrap_or(0.0),
            None => 1.0,
        };
        let ids = tokens
            .ids
            .iter()
            .copied()
            .filter(|&id| !hidden(id) && !self.has_no_column(id));
        let weighted = ids.filter_map(|id| Some((self.tokenizer.token(id)?, weight(id) * factor(id))));
        let distinct: BTreeMap<String, f32> = weighted
            .filter(|(token, weight)| *weight > 0.0 && !self.settings.stop_words.drop(token))
            .collect();
        distinct.into_iter().collect()
    }

    /// The token weights of one text on its own terms; `None` when one is not finite.
    fn scattered(&self, tokens: &Tokens, weight: impl Fn(usize) -> f32) -> Option<Terms> {
        let mut terms: BTreeMap<String, f32> = BTreeMap::new();
        let mut add = |term: String, weight: f32| {
            let (new, best) = match terms.get_mut(&term) {
                Some(best) => (false, best),
                None => (true, terms.entry(term).or_default()),
            };
            *best = match self.settings.scatter {
                Scatter::First if !new => *best,
                Scatter::First | Scatter::Max => best.max(weight),
                Scatter::Sum => *best + weight.max(0.0),
            };
        };
        match self.settings.terms {
            TermUnit::Words => {
                let piece = |at: usize| {
                    self.tokenizer
                        .token(tokens.ids[at])
                        .filter(|_| !self.is_unknown(tokens.ids[at]))
                };
                for (at, word) in words(&tokens.words, piece) {
                    let weight = weight(at);
                    if !weight.is_finite() {
                        return None;
                    }
                    add(word, weight);
                }
            }
            TermUnit::Pieces => {
                let mut names: HashMap<u32, Option<String>> = HashMap::new();
                for at in self.scattered_positions(tokens) {
                    let (id, weight) = (tokens.ids[at], weight(at));
                    if !weight.is_finite() {
                        return None;
                    }
                    let name = names.entry(id).or_insert_with(|| self.tokenizer.token(id));
                    if let Some(name) = name {
                        add(name.clone(), weight);
                    }
                }
            }
        }
        let kept = terms.into_iter();
        Some(
            kept.filter(|(term, weight)| *weight > 0.0 && !self.settings.stop_words.drop(term))
                .collect(),
        )
    }

    /// The positions whose own tokens get a weight.
    pub(super) fn scattered_positions<'a>(&'a self, tokens: &'a Tokens) -> impl Iterator<Item = usize> + 'a {
        let policy = self.settings.special_tokens;
        let without_added = matches!(policy, SpecialTokens::ExcludePositions | SpecialTokens::ZeroLogits);
        // uniCOIL's code drops the first token, which it takes to be [CLS].
        let first = usize::from(self.settings.head == HeadKind::Token);
        (first..tokens.ids.len())
            .filter(move |&at| !(without_added && tokens.added[at]))
            .filter(|&at| !self.has_no_column(tokens.ids[at]))
    }

    /// Whether the policy of special tokens leaves `id` without a weight.
    pub(super) fn has_no_column(&self, id: u32) -> bool {
        match self.settings.special_tokens {
            SpecialTokens::ZeroColumns => self.tokenizer.special.contains(&id),
            SpecialTokens::ZeroAdded => self.tokenizer.added.contains(&id),
            SpecialTokens::Keep | SpecialTokens::ExcludePositions | SpecialTokens::ZeroLogits => false,
        }
    }

    /// Whether a token stands for what the vocabulary lacks, or for no text at all.
    pub(super) fn is_unknown(&self, id: u32) -> bool {
        self.tokenizer.special.contains(&id)
    }
}

/// `encode` of each text, in order; an error tells which text it is of.
fn in_order<T: Send>(texts: &[&str], encode: impl Fn(&str) -> Result<T, String> + Sync) -> Result<Vec<T>, Error> {
    let numbered = |(text, content): (usize, &&str)| encode(content).map_err(|reason| Error::Tokenise { text, reason });
    match texts {
        // One query is not worth waking other threads.
        [content] => Ok(vec![numbered((0, content))?]),
        texts => texts.par_iter().enumerate().map(numbered).collect(),
    }
}

/// Scales, and drops what is too small: by itself, beside the largest, or beyond the `top_k` largest (equal ones by
/// their bytes).
fn prune(settings: &SideSettings, terms: &mut Terms) {
    if settings.scale != 1.0 {
        terms.iter_mut().for_each(|(_, weight)| *weight *= settings.scale);
    }
    let largest = terms.iter().map(|&(_, weight)| weight).fold(0.0, f32::max);
    let least = settings.min_weight.max(settings.prune_ratio * largest);
    terms.retain(|&(_, weight)| weight > least);
    if let Some(top_k) = settings.top_k.filter(|&top_k| top_k < terms.len()) {
        terms.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        terms.truncate(top_k);
        terms.sort_by(|a, b| a.0.cmp(&b.0));
    }
}

/// Counts texts, not windows, in an error of the model.
fn text_of_window(error: Error, texts: &[Vec<Tokens>]) -> Error {
    let Error::NotFinite { text: window } = error else {
        return error;
    };
    let mut windows = 0;
    let text = texts.iter().position(|text| {
        windows += text.len();
        window < windows
    });
    Error::NotFinite {
        text: text.unwrap_or(0),
    }
}
