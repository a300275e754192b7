//! Searching an immutable snapshot of a collection.

use crate::Error;
use crate::allowed::Allowed;
use crate::bm25::{self, Bm25Query};
use crate::document::StoredDocument;
use crate::fields::Source;
use crate::filter::Filter;
use crate::fusion::contributions;
use crate::ranking::{Ranked, best};
use crate::request::{Mode, SearchRequest};
use crate::response::{Explanation, FusedPart, QueryTerm, SearchHit, SearchResponse, SearchWork, Snippet, Took};
use crate::snapshot::Snapshot;
use crate::snippet::Marker;
use crate::sparse::SparseQuery;
use crate::stats::CollectionStats;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;
use tamis_core::DocId;

/// A snapshot of a collection at one commit: cheap to get and to clone, never changes, never blocks
/// and is never blocked by writers.
#[derive(Clone)]
pub struct Searcher {
    snapshot: Arc<Snapshot>,
}

/// A request with its queries made and its filter read.
struct Plan<'r> {
    request: &'r SearchRequest,
    sparse: Option<SparseQuery>,
    bm25: Option<Bm25Query>,
    filter: Option<Filter>,
}

/// Where a document stands in the two rankings of a fused search: rank from 1, score, contribution.
type Standing = (usize, f32, f32);

/// A ranking with everything known about it.
struct Retrieved {
    hits: Vec<Ranked<f32>>,
    total: Option<u64>,
    /// Of fused searches: standings in the sparse and in the BM25 ranking.
    standings: [HashMap<(usize, DocId), Standing>; 2],
}

impl Searcher {
    pub(crate) fn new(snapshot: Arc<Snapshot>) -> Self {
        Self { snapshot }
    }

    /// Answers `request`.
    ///
    /// Hits are ordered by descending score, equal scores by ascending id (bytes); the same for any
    /// layout of segments.
    ///
    /// # Errors
    /// When the request cannot be answered as it stands: its message says which part and why.
    pub fn search(&self, request: &SearchRequest) -> Result<SearchResponse, Error> {
        let begin = Instant::now();
        let plan = self.plan(request)?;
        self.check_fields(request)?;
        let encoded = begin.elapsed();
        let allowed = self.allowed(plan.filter.as_ref())?;
        let filtered = begin.elapsed();
        let mut work = SearchWork::default();
        let retrieved = self.retrieve(&plan, &allowed, &mut work)?;
        let found = begin.elapsed();
        let terms = plan.terms();
        let marker = request.highlight.then(|| Marker::new(request.query.as_deref(), &terms));
        let page = retrieved
            .hits
            .iter()
            .enumerate()
            .skip(request.offset)
            .take(request.limit);
        let hits = page.map(|(at, hit)| {
            let mut complete = self.fetch(&plan, hit, marker.as_ref())?;
            complete.rank = at + 1;
            if request.explain {
                complete.explain = Some(self.explain_hit(&plan, hit, &retrieved, true)?);
            }
            Ok(complete)
        });
        let hits = hits.collect::<Result<Vec<_>, Error>>()?;
        let micros = |duration: std::time::Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let total = begin.elapsed();
        Ok(SearchResponse {
            hits,
            total: retrieved.total,
            exact: true,
            query_terms: terms,
            truncated: plan.sparse.as_ref().is_some_and(|query| query.truncated),
            work,
            took: Took {
                encode_us: micros(encoded),
                filter_us: micros(filtered - encoded),
                retrieve_us: micros(found - filtered),
                fetch_us: micros(total - found),
                total_us: micros(total),
            },
            generation: self.generation(),
        })
    }

    /// Explains the score of document `id` for `request`, whether or not it would be returned.
    ///
    /// # Errors
    /// [`Error::DocumentNotFound`], and as [`Searcher::search`].
    pub fn explain(&self, request: &SearchRequest, id: &str) -> Result<Explanation, Error> {
        let plan = self.plan(request)?;
        let (segment, doc) = self.find(id)?;
        let allowed = self.allowed(plan.filter.as_ref())?;
        let passes = allowed[segment]
            .docs
            .as_ref()
            .is_none_or(|docs| docs.contains(doc.get()));
        let hit = Ranked {
            segment,
            doc,
            score: 0.0,
        };
        // Ranks matter to fused scores only.
        let retrieved = match request.mode {
            Mode::Fused => self.retrieve(&plan, &allowed, &mut SearchWork::default())?,
            Mode::Sparse | Mode::Bm25 => Retrieved {
                hits: Vec::new(),
                total: None,
                standings: Default::default(),
            },
        };
        self.explain_hit(&plan, &hit, &retrieved, passes)
    }

    /// The stored document `id`.
    ///
    /// # Errors
    /// [`Error::DocumentNotFound`].
    pub fn document(&self, id: &str) -> Result<StoredDocument, Error> {
        let (segment, doc) = self.find(id)?;
        let view = &self.snapshot.segments[segment];
        let source = view.source(doc, &self.snapshot.shared.fields)?;
        let vocabulary = self.snapshot.shared.vocabulary();
        let quantiser = self.snapshot.shared.quantiser;
        let global = view.impacts.terms();
        let tokens = view.impacts.index().forward(doc).filter_map(|(term, impact)| {
            let term = tamis_core::TermId::new(global.get(term.index())?);
            Some((vocabulary.term(term)?.to_owned(), quantiser.weight(impact)))
        });
        let mut vector: Vec<(String, f32)> = tokens.collect();
        vector.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        Ok(StoredDocument {
            id: id.to_owned(),
            title: source.title,
            text: source.text,
            fields: source.fields,
            vector: (!vector.is_empty()).then_some(vector),
        })
    }

    /// The commit this is a snapshot of.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.snapshot.stats.generation
    }

    /// Live documents.
    #[must_use]
    pub fn num_docs(&self) -> u64 {
        self.snapshot.num_docs
    }

    /// Counts of the commit.
    #[must_use]
    pub fn stats(&self) -> CollectionStats {
        self.snapshot.stats.clone()
    }

    /// (document, word) pairs that BM25 searches, deleted documents included.
    ///
    /// Reads every term dictionary: for reports, not for each request.
    ///
    /// # Errors
    /// When a dictionary cannot be read.
    pub fn num_word_postings(&self) -> Result<u64, Error> {
        bm25::num_postings(&self.snapshot)
    }

    fn find(&self, id: &str) -> Result<(usize, DocId), Error> {
        self.snapshot.find(id).ok_or_else(|| Error::DocumentNotFound {
            id: id.chars().take(512).collect(),
        })
    }

    fn plan<'r>(&self, request: &'r SearchRequest) -> Result<Plan<'r>, Error> {
        request.validate()?;
        let schema = &self.snapshot.shared.config.fields;
        let filter = request.filter.as_deref().filter(|text| !text.trim().is_empty());
        let filter = filter.map(|text| Filter::parse(text, schema)).transpose()?;
        let sparse = (request.mode != Mode::Bm25).then(|| SparseQuery::new(request, &self.snapshot));
        let words = request.query.as_deref().unwrap_or_default();
        let bm25 = (request.mode != Mode::Sparse).then(|| Bm25Query::new(words, &self.snapshot));
        Ok(Plan {
            request,
            sparse: sparse.transpose()?,
            bm25: bm25.transpose()?,
            filter,
        })
    }

    fn check_fields(&self, request: &SearchRequest) -> Result<(), Error> {
        let schema = &self.snapshot.shared.config.fields;
        let names = request.fields.iter().flatten().map(String::as_str);
        for name in names.filter(|name| !matches!(*name, "title" | "text")) {
            if schema.get(name).is_none() {
                let hint = schema.nearest(name).map(|near| format!(" (did you mean `{near}`?)"));
                return Err(Error::request(
                    "fields",
                    format!("unknown field `{name}`{}", hint.unwrap_or_default()),
                ));
            }
        }
        Ok(())
    }

    fn allowed(&self, filter: Option<&Filter>) -> Result<Vec<Allowed<'_>>, Error> {
        self.snapshot
            .segments
            .iter()
            .map(|view| Allowed::new(view, filter))
            .collect()
    }

    fn retrieve(&self, plan: &Plan<'_>, allowed: &[Allowed<'_>], work: &mut SearchWork) -> Result<Retrieved, Error> {
        let window = plan.request.offset + plan.request.limit;
        let k = match plan.request.mode {
            Mode::Fused => window.max(plan.request.fusion.depth),
            Mode::Sparse | Mode::Bm25 => window,
        };
        let algorithm = plan.request.algorithm.into();
        let mut total = None;
        let (mut sparse, mut bm25) = (Vec::new(), Vec::new());
        if let Some(query) = &plan.sparse {
            sparse = query.search(&self.snapshot, allowed, (k, algorithm), work)?;
            if sparse.len() < k {
                total = Some(sparse.len() as u64);
            }
        }
        if let Some(query) = &plan.bm25 {
            let (hits, matching) = query.search(&self.snapshot, allowed, k, work)?;
            (bm25, total) = (hits, Some(matching));
        }
        Ok(match plan.request.mode {
            Mode::Sparse => Retrieved {
                hits: sparse,
                total,
                standings: Default::default(),
            },
            Mode::Bm25 => Retrieved {
                hits: bm25,
                total,
                standings: Default::default(),
            },
            Mode::Fused => self.fuse(plan.request, &sparse, &bm25),
        })
    }

    fn fuse(&self, request: &SearchRequest, sparse: &[Ranked<f32>], bm25: &[Ranked<f32>]) -> Retrieved {
        let fusion = &request.fusion;
        let standings = [(sparse, fusion.sparse_weight), (bm25, fusion.bm25_weight)].map(|(hits, weight)| {
            let scores: Vec<f32> = hits.iter().map(|hit| hit.score).collect();
            let added = contributions(fusion, weight, &scores);
            let standing = |((at, hit), added): ((usize, &Ranked<f32>), f32)| (hit.place(), (at + 1, hit.score, added));
            hits.iter()
                .enumerate()
                .zip(added)
                .map(standing)
                .collect::<HashMap<_, _>>()
        });
        let part = |ranking: usize, hit: &Ranked<f32>| standings[ranking].get(&hit.place()).map_or(0.0, |it| it.2);
        let others = bm25.iter().filter(|hit| !standings[0].contains_key(&hit.place()));
        let fused = sparse.iter().chain(others);
        let fused: Vec<_> = fused.map(|hit| hit.map(|_| part(0, hit) + part(1, hit))).collect();
        let window = request.offset + request.limit;
        Retrieved {
            hits: best(fused, window, &self.snapshot, f32::total_cmp),
            total: None,
            standings,
        }
    }

    /// What is stored of a hit, as far as it was asked for.
    fn fetch(&self, plan: &Plan<'_>, hit: &Ranked<f32>, marker: Option<&Marker>) -> Result<SearchHit, Error> {
        let view = &self.snapshot.segments[hit.segment];
        // Reading stored documents costs more than finding them: whoever asks for ids only gets them faster.
        let needs_source = marker.is_some() || plan.request.fields.as_ref().is_none_or(|wanted| !wanted.is_empty());
        let mut source = match needs_source {
            true => view.source(hit.doc, &self.snapshot.shared.fields)?,
            false => Source::default(),
        };
        let snippet = marker.map(|marker| extract(marker, source.title.as_deref(), source.text.as_deref()));
        let wanted = plan.request.fields.as_deref();
        let has = |name: &str| wanted.is_some_and(|wanted| wanted.iter().any(|known| known == name));
        if wanted.is_some() {
            source.fields.retain(|name, _| has(name));
        }
        Ok(SearchHit {
            id: view.impacts.id(hit.doc).to_owned(),
            rank: 0,
            score: hit.score,
            title: source.title.filter(|_| wanted.is_none() || has("title")),
            text: source.text.filter(|_| has("text")),
            fields: source.fields,
            snippet,
            explain: None,
        })
    }

    fn explain_hit(
        &self,
        plan: &Plan<'_>,
        hit: &Ranked<f32>,
        retrieved: &Retrieved,
        matches_filter: bool,
    ) -> Result<Explanation, Error> {
        let view = &self.snapshot.segments[hit.segment];
        let mut parts = Vec::new();
        if let Some(query) = &plan.sparse {
            let (score, terms) = query.explain(&self.snapshot, view, hit.doc);
            parts.push((Mode::Sparse, score, terms, &retrieved.standings[0]));
        }
        if let Some(query) = &plan.bm25 {
            let (score, terms) = query.explain(view, hit.doc)?;
            parts.push((Mode::Bm25, score, terms, &retrieved.standings[1]));
        }
        let mut explanation = Explanation {
            id: view.impacts.id(hit.doc).to_owned(),
            mode: plan.request.mode,
            score: 0.0,
            matches_filter,
            terms: Vec::new(),
            parts: Vec::new(),
        };
        for (mode, score, terms, standings) in parts {
            if plan.request.mode == mode {
                (explanation.score, explanation.terms) = (score, terms);
                continue;
            }
            let standing = standings.get(&hit.place());
            let contribution = standing.map_or(0.0, |standing| standing.2);
            explanation.score += contribution;
            explanation.parts.push(FusedPart {
                mode,
                rank: standing.map(|standing| standing.0),
                score,
                contribution,
                terms,
            });
        }
        Ok(explanation)
    }
}

impl Plan<'_> {
    /// The terms of all queries.
    fn terms(&self) -> Vec<QueryTerm> {
        let sparse = self.sparse.iter().flat_map(|query| &query.terms);
        let bm25 = self.bm25.iter().flat_map(|query| &query.terms);
        sparse.chain(bm25).cloned().collect()
    }
}

/// A snippet of the text, or of the title where there is no text.
fn extract(marker: &Marker, title: Option<&str>, text: Option<&str>) -> Snippet {
    match (text.filter(|text| !text.is_empty()), title) {
        (None, Some(title)) => marker.snippet("title", title),
        (text, _) => marker.snippet("text", text.unwrap_or_default()),
    }
}
