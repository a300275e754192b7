//! Lines of training files: JSON objects in the forms that are in use, and triples.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use tamis_eval::{Line, Place};

use crate::error::Error;

/// A document as a line gives it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct DocumentText {
    pub(super) title: String,
    pub(super) text: String,
}

/// What a line says: a query, documents that answer it, others that do not, and what a teacher scores them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Judged {
    pub(super) source: String,
    pub(super) query: String,
    /// At least one.
    pub(super) positives: Vec<DocumentText>,
    pub(super) negatives: Vec<DocumentText>,
    /// Of the positives, then of the negatives; empty where there are none.
    pub(super) scores: Vec<f32>,
}

/// A line as it is written.
#[derive(Deserialize)]
struct Record {
    #[serde(default)]
    src: Option<String>,
    #[serde(default)]
    query: Option<String>,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    expansion: Option<String>,
    #[serde(default, alias = "positive", alias = "positives")]
    pos: Option<Documents>,
    #[serde(default, alias = "negative", alias = "negatives", alias = "neg")]
    negs: Option<Documents>,
    #[serde(default)]
    docs: Option<Documents>,
    #[serde(default)]
    scores: Option<Vec<f32>>,
}

/// One document or a list of them.
struct Documents(Vec<DocumentText>);

/// The fields of a document that has more than a text.
#[derive(Deserialize)]
struct Fields {
    #[serde(default)]
    title: Option<String>,
    text: String,
    #[serde(default)]
    expansion: Option<String>,
}

impl Fields {
    fn document(self) -> DocumentText {
        DocumentText {
            title: self.title.unwrap_or_default(),
            text: expanded(self.text, self.expansion.as_deref()),
        }
    }
}

/// The text with its expansion behind a separator, as encoders read it.
fn expanded(text: String, expansion: Option<&str>) -> String {
    match expansion {
        Some(expansion) => format!("{text} [SEP] {expansion}"),
        None => text,
    }
}

const DOCUMENT: &str = "a text, an object with \"text\", or a list of them";

impl<'de> Deserialize<'de> for Documents {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DocumentsVisitor)
    }
}

struct DocumentsVisitor;

impl<'de> Visitor<'de> for DocumentsVisitor {
    type Value = Documents;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(DOCUMENT)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Documents, E> {
        let text = text.to_owned();
        Ok(Documents(vec![DocumentText {
            text,
            ..DocumentText::default()
        }]))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Documents, A::Error> {
        let fields = Fields::deserialize(de::value::MapAccessDeserializer::new(map))?;
        Ok(Documents(vec![fields.document()]))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Documents, A::Error> {
        let mut all = Vec::new();
        while let Some(Documents(more)) = seq.next_element()? {
            all.extend(more);
        }
        Ok(Documents(all))
    }
}

/// Reads a line of JSON: `{query, text}` or `{title, text}` (a pair), `{query, pos, negs}` (also with the names that
/// `tamis mine` writes: `positive`, `negatives`) or `{query, docs}`, the last two perhaps with `scores`.
///
/// Of `docs` the one with the best score is the positive, without scores the first. Negatives with the text of a
/// positive are left to whoever knows which texts are the same.
pub(super) fn of_json(line: &Line<'_>) -> Result<Judged, Error> {
    let bad = |place: Place, problem: String| Error::TrainingLine {
        place,
        expected: "an object with \"query\" and \"text\", \"pos\" and \"negs\", or \"docs\"",
        problem,
    };
    if !line.text.trim_start().starts_with('{') {
        let problem = "the line does not begin with {".to_owned();
        return Err(bad(line.place().at_column(1), problem));
    }
    let record: Record = serde_json::from_str(line.text).map_err(|error| {
        let message = error.to_string();
        let problem = message
            .rsplit_once(" at line ")
            .map_or(message.as_str(), |(problem, _)| problem);
        bad(line.place().at_column(error.column().max(1)), problem.to_owned())
    })?;
    let judged = judged(record).map_err(|problem| bad(line.place(), problem))?;
    check(&judged, line)?;
    Ok(judged)
}

fn judged(record: Record) -> Result<Judged, String> {
    let title = record.title.unwrap_or_default();
    let mut judged = Judged {
        source: record.src.unwrap_or_default(),
        ..Judged::default()
    };
    let forms = [record.text.is_some(), record.pos.is_some(), record.docs.is_some()];
    if forms.iter().filter(|&&is_there| is_there).count() != 1 {
        return Err("it has none of \"text\", \"pos\" and \"docs\", or several".to_owned());
    }
    let scores = record.scores.unwrap_or_default();
    if let Some(text) = record.text {
        let (query, title) = match record.query {
            Some(query) => (query, title),
            // A title that is asked for is no part of its own answer.
            None => (title, String::new()),
        };
        judged.query = query;
        let text = expanded(text, record.expansion.as_deref());
        judged.positives = vec![DocumentText { title, text }];
        return Ok(judged);
    }
    judged.query = record.query.unwrap_or_default();
    judged.positives = record.pos.map_or_else(Vec::new, |Documents(all)| all);
    judged.negatives = record.negs.map_or_else(Vec::new, |Documents(all)| all);
    let num_documents = match &record.docs {
        Some(Documents(all)) => all.len(),
        None => judged.positives.len() + judged.negatives.len(),
    };
    if num_documents == 0 || (record.docs.is_none() && judged.positives.is_empty()) {
        return Err("no document answers the query".to_owned());
    }
    if !scores.is_empty() && scores.len() != num_documents {
        return Err(format!("{} scores for {num_documents} documents", scores.len()));
    }
    if scores.iter().any(|score| !score.is_finite()) {
        return Err("a score is not a finite number".to_owned());
    }
    judged.scores = scores;
    if let Some(Documents(mut all)) = record.docs {
        let best = (0..judged.scores.len()).fold(0, |best, at| match judged.scores[at] > judged.scores[best] {
            true => at,
            false => best,
        });
        judged.positives = vec![all.remove(best)];
        judged.negatives = all;
        if !judged.scores.is_empty() {
            judged.scores[..=best].rotate_right(1);
        }
    }
    Ok(judged)
}

/// Reads a triple: query, positive and negative, perhaps with the scores of both, separated by tabs.
pub(super) fn of_triple(line: &Line<'_>) -> Result<Judged, Error> {
    let columns: Vec<&str> = line.text.split('\t').collect();
    let bad = |place: Place, problem: String| Error::TrainingLine {
        place,
        expected: "query, positive and negative, perhaps with the scores of both, separated by tabs",
        problem,
    };
    if columns.len() != 3 && columns.len() != 5 {
        return Err(bad(line.place(), format!("there are {} columns", columns.len())));
    }
    let score = |text: &&str| match text.trim().parse::<f32>() {
        Ok(score) if score.is_finite() => Ok(score),
        _ => Err(bad(line.place_of(text), format!("{text:?} is not a finite number"))),
    };
    let document = |text: &str| DocumentText {
        text: text.to_owned(),
        ..DocumentText::default()
    };
    let judged = Judged {
        query: columns[0].to_owned(),
        positives: vec![document(columns[1])],
        negatives: vec![document(columns[2])],
        scores: columns[3..].iter().map(score).collect::<Result<_, _>>()?,
        ..Judged::default()
    };
    check(&judged, line)?;
    Ok(judged)
}

/// No side may be empty.
fn check(judged: &Judged, line: &Line<'_>) -> Result<(), Error> {
    let documents = judged.positives.iter().chain(&judged.negatives);
    let fields = [("query", judged.query.as_str())]
        .into_iter()
        .chain(documents.map(|document| ("text", document.text.as_str())));
    for (field, value) in fields {
        if value.trim().is_empty() {
            return Err(Error::EmptyField {
                place: line.place(),
                field,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use tamis_eval::LineReader;

    use super::*;

    fn read(text: &str, of: fn(&Line<'_>) -> Result<Judged, Error>) -> Result<Judged, Error> {
        let mut lines = LineReader::new(Box::new(Cursor::new(text.to_owned())), "rows".to_owned());
        of(&lines.next_line().expect("readable").expect("a line"))
    }

    fn documents(texts: &[(&str, &str)]) -> Vec<DocumentText> {
        let document = |&(title, text): &(&str, &str)| DocumentText {
            title: title.to_owned(),
            text: text.to_owned(),
        };
        texts.iter().map(document).collect()
    }

    #[test]
    fn every_form_is_read() {
        let mined = r#"{"src":"faq","query":"q","positive":{"title":"T","text":"p"},"negatives":[{"title":"","text":"n"}],"scores":[2.5,1]}"#;
        let mined = read(mined, of_json).expect("a clean line");
        assert_eq!((mined.source.as_str(), mined.query.as_str()), ("faq", "q"));
        assert_eq!(
            (&mined.positives, &mined.scores),
            (&documents(&[("T", "p")]), &vec![2.5, 1.0])
        );
        let plain = read(r#"{"query":"q","pos":["a","b"],"negs":"n"}"#, of_json).expect("a clean line");
        assert_eq!(plain.positives, documents(&[("", "a"), ("", "b")]));
        assert_eq!(plain.negatives, documents(&[("", "n")]));
        let listed = r#"{"query":"q","docs":["a","b",{"text":"c","expansion":"e f"}],"scores":[1,0.5,3]}"#;
        let listed = read(listed, of_json).expect("a clean line");
        assert_eq!(listed.positives, documents(&[("", "c [SEP] e f")]));
        assert_eq!(
            (listed.negatives, listed.scores),
            (documents(&[("", "a"), ("", "b")]), vec![3.0, 1.0, 0.5])
        );
        let first = read(r#"{"query":"q","docs":["a","b"]}"#, of_json).expect("a clean line");
        assert_eq!(first.positives, documents(&[("", "a")]));
        let titled = read(r#"{"_id":"7","title":"On sieves","text":"t"}"#, of_json).expect("a clean line");
        assert_eq!(
            (titled.query.as_str(), titled.positives),
            ("On sieves", documents(&[("", "t")]))
        );
        let triple = read("q\tp\tn\t1.5\t-2", of_triple).expect("a clean line");
        assert_eq!(
            (triple.positives, triple.scores),
            (documents(&[("", "p")]), vec![1.5, -2.0])
        );
        assert_eq!(
            read("q\tp\tn", of_triple).expect("a clean line").scores,
            Vec::<f32>::new()
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let json = |text| read(text, of_json).expect_err("broken").to_string();
        let expected = "expected an object with \"query\" and \"text\", \"pos\" and \"negs\", or \"docs\", but";
        let none = "it has none of \"text\", \"pos\" and \"docs\", or several";
        assert_eq!(
            json("[1]"),
            format!("rows, line 1, column 1: {expected} the line does not begin with {{")
        );
        assert_eq!(json("{\"query\":\"q\"}"), format!("rows, line 1: {expected} {none}"));
        assert_eq!(
            json("{\"query\":\"q\",\"text\":\"t\",\"docs\":[]}"),
            format!("rows, line 1: {expected} {none}")
        );
        assert_eq!(
            json("{\"query\":\"q\",\"pos\":\"p\",\"negs\":[\"n\"],\"scores\":[1]}"),
            format!("rows, line 1: {expected} 1 scores for 2 documents")
        );
        assert_eq!(
            json("{\"query\":\"q\",\"docs\":[]}"),
            format!("rows, line 1: {expected} no document answers the query")
        );
        assert!(json("{\"query\":\"q\",\"pos\":[3]}").contains("rows, line 1, column 2"));
        assert!(json("{\"query\":\"q\",\"pos\":[3]}").contains(DOCUMENT));
        assert!(json("{\"query\":\" \",\"text\":\"t\"}").contains("the field \"query\" is empty"));
        assert!(json("{\"query\":\"q\",\"pos\":\"p\",\"negs\":[\"\"]}").contains("the field \"text\" is empty"));
        let triple = |text| read(text, of_triple).expect_err("broken").to_string();
        assert!(triple("q\tp").contains("rows, line 1: ") && triple("q\tp").contains("there are 2 columns"));
        assert!(
            triple("q\tp\tn\t1\tx").contains("line 1, column 9") && triple("q\tp\tn\t1\tx").contains("\"x\" is not")
        );
        assert!(triple("q\tp\tn\t1\tinf").contains("not a finite number"));
    }
}
