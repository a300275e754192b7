//! A collection in memory: what every search must return, computed the slow way.

#![expect(
    clippy::cast_possible_truncation,
    reason = "scores and means are rounded to single precision where the engine rounds them"
)]

use std::collections::{BTreeMap, HashMap};
use tamis_core::{Quantiser, SparseVector, TermId};
use tamis_encoder::lexical::{Analyzer, Lexical, LexicalOptions, idf};
use tamis_encoder::{Encoder, InputKind, joined};
use tamis_engine::{Document, Fusion, FusionMethod, Mode, SearchRequest};
use tamis_query::QuantisedQuery;

/// Live documents by id.
pub type Documents = BTreeMap<String, Document>;

type Predicate = fn(&Document) -> bool;

/// Filter expressions with what they mean.
pub const FILTERS: [(&str, Predicate); 9] = [
    ("year >= 3", |doc| year(doc).is_some_and(|year| year >= 3)),
    ("NOT year < 3", |doc| year(doc).is_none_or(|year| year >= 3)),
    ("tags IN [red, \"\"] OR EXISTS(draft)", |doc| {
        tags(doc).iter().any(|tag| tag == "red" || tag.is_empty()) || doc.fields.contains_key("draft")
    }),
    ("tags > \"blue\" AND year BETWEEN 1 AND 4", |doc| {
        tags(doc).iter().any(|tag| tag.as_str() > "blue") && year(doc).is_some_and(|year| (1..=4).contains(&year))
    }),
    ("draft = true", |doc| doc.fields.get("draft") == Some(&true.into())),
    ("price <= 0.5 OR day > 2024-01-02", |doc| {
        let price = doc.fields.get("price").and_then(|price| price.as_f64());
        let day = doc.fields.get("day").and_then(|day| day.as_str());
        price.is_some_and(|price| price <= 0.5) || day.is_some_and(|day| day > "2024-01-02")
    }),
    ("tags != red", |doc| !tags(doc).iter().any(|tag| tag == "red")),
    ("tags >= green AND tags < redder", |doc| {
        tags(doc).iter().any(|tag| tag.as_str() >= "green") && tags(doc).iter().any(|tag| tag.as_str() < "redder")
    }),
    ("year = 99", |_| false),
];

fn year(doc: &Document) -> Option<i64> {
    doc.fields.get("year").and_then(|year| year.as_i64())
}

fn tags(doc: &Document) -> Vec<String> {
    let tags = doc.fields.get("tags").and_then(|tags| tags.as_array());
    let texts = tags.into_iter().flatten().filter_map(|tag| tag.as_str());
    texts.map(str::to_owned).collect()
}

fn text(doc: &Document) -> String {
    joined(doc.title.as_deref(), doc.text.as_deref().unwrap_or_default()).into_owned()
}

fn words(text: &str) -> Vec<String> {
    Analyzer.tokens(text).map(|token| token.text.into_owned()).collect()
}

/// Best first: by score, then by id.
fn ranked(mut hits: Vec<(String, f32)>) -> Vec<(String, f32)> {
    hits.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    hits
}

/// What `request` must return from `documents`, of which `filter` lets some through.
pub fn search(documents: &Documents, request: &SearchRequest, filter: Predicate) -> Vec<(String, f32)> {
    let page = |hits: Vec<(String, f32)>| -> Vec<(String, f32)> {
        hits.into_iter().skip(request.offset).take(request.limit).collect()
    };
    let (sparse, bm25) = (
        || sparse(documents, request, filter),
        || bm25(documents, request, filter),
    );
    page(match request.mode {
        Mode::Sparse => sparse(),
        Mode::Bm25 => bm25(),
        Mode::Fused => fused(&request.fusion, request.offset + request.limit, [sparse(), bm25()]),
    })
}

fn sparse(documents: &Documents, request: &SearchRequest, filter: Predicate) -> Vec<(String, f32)> {
    let lexical = Lexical::new(LexicalOptions::default()).expect("defaults");
    let quantiser = Quantiser::with_max_weight(lexical.max_weight().expect("known")).expect("positive");
    let vectors: Vec<HashMap<String, u8>> = documents
        .values()
        .map(|doc| {
            let tokens = doc.vector.clone().unwrap_or_else(|| {
                let encoded = lexical.encode(InputKind::Document, &[&text(doc)]).expect("any text");
                encoded[0].tokens.clone()
            });
            tokens
                .into_iter()
                .map(|(token, weight)| (token, quantiser.impact(weight).get()))
                .collect()
        })
        .collect();
    let query = match (&request.vector, &request.query) {
        (Some(vector), _) => vector.clone(),
        (None, query) => {
            let encoded = lexical
                .encode(InputKind::Query, &[query.as_deref().unwrap_or_default()])
                .expect("any text");
            let weigh = |(token, weight): &(String, f32)| {
                let df = vectors.iter().filter(|vector| vector.contains_key(token)).count();
                (token.clone(), weight * idf(documents.len() as u64, df as u64))
            };
            encoded[0].tokens.iter().map(weigh).collect()
        }
    };
    let known: Vec<(String, f32)> = query
        .into_iter()
        .filter(|(token, _)| vectors.iter().any(|vector| vector.contains_key(token)))
        .collect();
    let pairs = known
        .iter()
        .zip(0..)
        .map(|((_, weight), term)| (TermId::new(term), *weight));
    let vector = SparseVector::from_pairs(pairs.collect()).expect("distinct");
    let quantised = QuantisedQuery::new(&vector).expect("few terms");
    let unit = f64::from(quantised.step() * quantiser.step());
    let mut hits: Vec<(u64, &String)> = Vec::new();
    for ((id, doc), vector) in documents.iter().zip(&vectors) {
        let products = quantised.terms().iter().map(|&(term, weight)| {
            let impact = vector.get(&known[term.index()].0).copied().unwrap_or_default();
            u64::from(weight) * u64::from(impact)
        });
        let sum: u64 = products.sum();
        if sum > 0 && filter(doc) {
            hits.push((sum, id));
        }
    }
    hits.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    hits.into_iter()
        .map(|(sum, id)| (id.clone(), (sum as f64 * unit) as f32))
        .collect()
}

fn bm25(documents: &Documents, request: &SearchRequest, filter: Predicate) -> Vec<(String, f32)> {
    let all: Vec<Vec<String>> = documents.values().map(|doc| words(&text(doc))).collect();
    let total: usize = all.iter().map(Vec::len).sum();
    let average = (total as f64 / documents.len().max(1) as f64) as f32;
    let mut query: Vec<(String, f32)> = Vec::new();
    for word in words(request.query.as_deref().unwrap_or_default()) {
        match query.iter_mut().find(|(known, _)| *known == word) {
            Some((_, count)) => *count += 1.0,
            None => query.push((word, 1.0)),
        }
    }
    let (k1, b) = (0.9f32, 0.4f32);
    let mut hits = Vec::new();
    for ((id, doc), words) in documents.iter().zip(&all) {
        let mut score = 0.0f32;
        for (word, count) in &query {
            let df = all.iter().filter(|words| words.contains(word)).count();
            let frequency = words.iter().filter(|other| *other == word).count() as f32;
            if frequency > 0.0 {
                let norm = k1 * (1.0 - b + b * words.len() as f32 / average);
                let weight = count * idf(documents.len() as u64, df as u64);
                score += weight * (frequency * (k1 + 1.0) / (frequency + norm));
            }
        }
        if score > 0.0 && filter(doc) {
            hits.push((id.clone(), score));
        }
    }
    ranked(hits)
}

fn fused(fusion: &Fusion, window: usize, lists: [Vec<(String, f32)>; 2]) -> Vec<(String, f32)> {
    let mut scores: BTreeMap<String, [f32; 2]> = BTreeMap::new();
    let weights = [fusion.sparse_weight, fusion.bm25_weight];
    for (at, list) in lists.iter().enumerate() {
        let list = &list[..list.len().min(fusion.depth.max(window))];
        let highest = list.first().map_or(0.0, |hit| hit.1);
        let lowest = list.last().map_or(0.0, |hit| hit.1);
        for (rank, (id, score)) in list.iter().enumerate() {
            let part = match fusion.method {
                FusionMethod::Rrf => weights[at] / (fusion.rrf_k as f32 + rank as f32 + 1.0),
                FusionMethod::MinMax if highest > lowest => weights[at] * (score - lowest) / (highest - lowest),
                FusionMethod::MinMax => weights[at],
            };
            scores.entry(id.clone()).or_default()[at] = part;
        }
    }
    ranked(scores.into_iter().map(|(id, [a, b])| (id, a + b)).collect())
}
