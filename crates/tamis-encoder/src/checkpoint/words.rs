//! Whole words as terms: how DeepImpact cleans texts, which words it and TILDE leave out, and words out of pieces.
//!
//! Sources: Mallia et al. (SIGIR 2021), DeepImpact, and Zhuang and Zuccon (2021), TILDE, by their published code. TILDE
//! takes its function words from NLTK's English list (Bird, Klein and Loper, 2009) and keeps the question words.

use super::policy::{Cleaning, StopWords};
use crate::InputKind;

/// DeepImpact's stop words, without the apostrophes that its cleaning takes away.
const DEEP_IMPACT: &str = "a about also am an and another any anyone are arent as at be been being but by despite did \
    didnt do does doesnt doing done dont each etc every everyone for from further had hadnt has hasnt have havent having \
    he hed hell her here heres hers herself hes him himself his however i id if ill im in into is isnt it its itself ive \
    just lets like lot may me might mightnt my myself no nor not of on onto or other ought oughtnt our ours ourselves \
    out over shall shant she shed shell shes since so some something such than that thats the their theirs them \
    themselves then there theres these they theyd theyll theyre theyve this those through tht to too usually very via \
    was wasnt we wed well were werent weve will with without wont would wouldnt yes yet you youd youll your youre yours \
    yourself yourselves youve";

/// The one-piece words of TILDE's list, letters and digits only.
const TILDE: &str = "i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she her \
    hers herself it its itself they them their theirs themselves whom this that these those am is are was were be been being \
    have has had having do does did doing a an the and but if or because as until while of at by for with about against \
    between into through during before after above below to from up down in out on off over under again further then \
    once here there all any both each few more most other some such no nor not only own same so than too very s t can \
    will just don should now d ll m o re ve y ain aren couldn didn doesn hadn hasn haven isn ma mightn mustn needn shan \
    shouldn wasn weren won wouldn";

impl StopWords {
    /// Whether `term` gets no weight.
    pub(super) fn drop(self, term: &str) -> bool {
        let listed = |list: &str| list.split_ascii_whitespace().any(|word| word == term);
        match self {
            Self::None => false,
            Self::DeepImpact => listed(DEEP_IMPACT),
            Self::Tilde => {
                let plain = |letter: char| letter.is_ascii_alphanumeric() || "_-".contains(letter);
                term == "##s" || (!term.starts_with("##") && !term.chars().all(plain)) || listed(TILDE)
            }
        }
    }
}

impl Cleaning {
    /// `text` cleaned as a document or as a query.
    pub(super) fn clean(self, kind: InputKind, text: &str) -> Option<String> {
        match (self, kind) {
            (Self::None, _) => None,
            (Self::DeepImpact, InputKind::Document) => Some(clean(text, ",.-", document_word)),
            (Self::DeepImpact, InputKind::Query) => Some(clean(text, ".-", query_word)),
        }
    }
}

/// ASCII letters in lower case, digits and `marks`; everything else parts words, and commas stand alone.
fn clean(text: &str, marks: &str, word: impl Fn(&str) -> String) -> String {
    let keep = |letter: char| match letter {
        ',' if marks.contains(',') => " , ".to_owned(),
        letter if letter.is_ascii_alphanumeric() || marks.contains(letter) => letter.to_ascii_lowercase().to_string(),
        _ => " ".to_owned(),
    };
    let kept: String = text.chars().map(keep).collect();
    let words = kept.split_ascii_whitespace().map(word).collect::<Vec<_>>().join(" ");
    words.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

/// Acronyms are joined, other full stops stand alone; a word with hyphens is joined, its parts follow in brackets.
fn document_word(word: &str) -> String {
    let spread = dots(word, " . ");
    let hyphens = |word: &str| match word.contains('-') {
        true => format!("{} ( {} )", word.replace('-', ""), word.replace('-', " ")),
        false => word.to_owned(),
    };
    spread
        .split_ascii_whitespace()
        .map(hyphens)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Acronyms are joined, other full stops part words; so are hyphens of one-letter parts, and others part words.
fn query_word(word: &str) -> String {
    let spread = dots(word, " ");
    let hyphens = |word: &str| match word.split('-').map(str::len).min() {
        Some(shortest) if shortest > 1 => word.replace('-', " "),
        _ => word.replace('-', ""),
    };
    spread
        .split_ascii_whitespace()
        .map(hyphens)
        .collect::<Vec<_>>()
        .join(" ")
}

/// A word whose parts between full stops all have one letter is an acronym or a number: joined.
fn dots(word: &str, between: &str) -> String {
    match word.split('.').map(str::len).max() {
        Some(longest) if longest > 1 && word.contains('.') => word.replace('.', between),
        _ => word.replace('.', ""),
    }
}

/// Each word of a text: the position of its first piece, and its pieces as one. Words with the unknown token, whose
/// letters are lost, are left out.
pub(super) fn words<'a>(
    words: &'a [Option<u32>],
    piece: impl Fn(usize) -> Option<String> + 'a,
) -> impl Iterator<Item = (usize, String)> + 'a {
    let starts = (0..words.len()).filter(|&at| words[at].is_some() && (at == 0 || words[at - 1] != words[at]));
    starts.filter_map(move |start| {
        let pieces = (start..words.len()).take_while(|&at| words[at] == words[start]);
        let mut word = String::new();
        for at in pieces {
            let piece = piece(at)?;
            word.push_str(bare(&piece));
        }
        (!word.is_empty()).then_some((start, word))
    })
}

/// A piece without the mark that it goes on a word, or begins one.
fn bare(piece: &str) -> &str {
    let bare = piece.strip_prefix("##").filter(|rest| !rest.is_empty());
    bare.or_else(|| piece.strip_prefix('\u{2581}'))
        .or_else(|| piece.strip_prefix('\u{120}'))
        .unwrap_or(piece)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_and_queries_are_cleaned_as_by_deepimpact() {
        let document = |text| Cleaning::DeepImpact.clean(InputKind::Document, text).expect("cleaned");
        assert_eq!(document("The U.S. sieve, 3.5 mm: fine."), "the us sieve , 35 mm fine .");
        assert_eq!(
            document("state-of-the-art mill's"),
            "stateoftheart ( state of the art ) mill s"
        );
        assert_eq!(document("naïve — a.b.com"), "na ve a . b . com");
        let query = |text| Cleaning::DeepImpact.clean(InputKind::Query, text).expect("cleaned");
        assert_eq!(query("The U.S. sieve, fine."), "the us sieve fine");
        assert_eq!(query("well-known e-mail"), "well known email");
        assert_eq!(Cleaning::None.clean(InputKind::Query, "x"), None);
    }

    #[test]
    fn stop_words_are_those_of_the_list() {
        let drop = |list: StopWords, words: &[&str]| words.iter().filter(|word| list.drop(word)).count();
        assert_eq!(drop(StopWords::Tilde, &["the", "##s", "!", "é", "[SEP]"]), 5);
        assert_eq!(
            drop(StopWords::Tilde, &["what", "where", "mill", "##é", "a_b-1", "##es"]),
            0
        );
        assert_eq!(drop(StopWords::DeepImpact, &["dont", "the", "usually"]), 3);
        assert_eq!(drop(StopWords::DeepImpact, &["mill", "when", "!"]), 0);
        assert_eq!(drop(StopWords::None, &["the"]), 0);
    }

    #[test]
    fn pieces_make_words() {
        let pieces = ["[CLS]", "mill", "##er", "[UNK]", "##", "wheel", "[SEP]"];
        let of = [None, Some(0), Some(0), Some(1), Some(2), Some(3), None];
        let piece = |at: usize| (pieces[at] != "[UNK]").then(|| pieces[at].to_owned());
        let found: Vec<(usize, String)> = words(&of, piece).collect();
        assert_eq!(
            found,
            [(1, "miller".to_owned()), (4, "##".to_owned()), (5, "wheel".to_owned())]
        );
    }
}
