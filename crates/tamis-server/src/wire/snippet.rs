//! Shape of snippets: plain pieces of text, matched and unmatched.

use serde::Serialize;
use tamis_engine::Snippet;
use utoipa::ToSchema;

/// An extract of a document as pieces of plain text; joined they are the extract. Nothing is escaped: insert it as text.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct SnippetBody {
    /// Where it is from: text or title.
    pub field: String,
    /// Matched and unmatched pieces in turn.
    pub pieces: Vec<PieceBody>,
    /// Whether something was left out before it.
    pub cut_before: bool,
    /// Whether something was left out after it.
    pub cut_after: bool,
}

/// A piece of a snippet.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PieceBody {
    /// The text.
    pub text: String,
    /// `typed` for a word of the query, `added` for a word of the model's expansion; left out where nothing matched.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub matched: Option<MatchKind>,
}

/// Why a piece of a snippet is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MatchKind {
    /// It stands in the query.
    Typed,
    /// The model added it.
    Added,
}

impl From<&Snippet> for SnippetBody {
    fn from(snippet: &Snippet) -> Self {
        let mut pieces = Vec::new();
        let mut at = 0;
        let mut push = |range: std::ops::Range<usize>, matched| match snippet.text.get(range) {
            None | Some("") => {}
            Some(text) => pieces.push(PieceBody {
                text: text.to_owned(),
                matched,
            }),
        };
        for highlight in &snippet.highlights {
            push(at..highlight.start, None);
            let kind = if highlight.typed {
                MatchKind::Typed
            } else {
                MatchKind::Added
            };
            push(highlight.start..highlight.end, Some(kind));
            at = highlight.end;
        }
        push(at..snippet.text.len(), None);
        Self {
            field: snippet.field.clone(),
            pieces,
            cut_before: snippet.cut_before,
            cut_after: snippet.cut_after,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tamis_engine::Highlight;

    #[test]
    fn a_snippet_is_cut_at_its_highlights() {
        let text = "Größe of <b>bees</b>";
        let highlights = vec![
            Highlight {
                start: 0,
                end: 7,
                typed: true,
            },
            Highlight {
                start: 14,
                end: 18,
                typed: false,
            },
        ];
        let snippet = Snippet {
            field: "text".to_owned(),
            text: text.to_owned(),
            cut_before: true,
            cut_after: false,
            highlights,
        };
        let body = SnippetBody::from(&snippet);
        let piece = |text: &str, matched| PieceBody {
            text: text.to_owned(),
            matched,
        };
        assert_eq!(
            body.pieces,
            vec![
                piece("Größe", Some(MatchKind::Typed)),
                piece(" of <b>", None),
                piece("bees", Some(MatchKind::Added)),
                piece("</b>", None)
            ]
        );
        assert_eq!(
            body.pieces.iter().map(|piece| piece.text.as_str()).collect::<String>(),
            text
        );
    }
}
