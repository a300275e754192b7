//! BERT's tokenizer from a bare `vocab.txt`.
//!
//! Source: Schuster and Nakajima (ICASSP 2012) for the pieces; Devlin et al. (NAACL 2019) for this way of cleaning and
//! splitting text before.

use super::json::{JsonFile, read_bytes};
use crate::Error;
use std::path::{Path, PathBuf};
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::{AddedToken, Tokenizer};

/// Special tokens by their field in `tokenizer_config.json`, with BERT's names as defaults.
const SPECIAL: [(&str, &str); 5] = [
    ("unk_token", "[UNK]"),
    ("sep_token", "[SEP]"),
    ("pad_token", "[PAD]"),
    ("cls_token", "[CLS]"),
    ("mask_token", "[MASK]"),
];

/// Builds the tokenizer of `dir`; gives it with the file and its bytes.
pub(super) fn read(dir: &Path, settings: Option<&JsonFile>) -> Result<(Tokenizer, PathBuf, Vec<u8>), Error> {
    let path = dir.join("vocab.txt");
    let bytes = read_bytes(
        &path,
        "a checkpoint needs a tokenizer.json, or the vocab.txt of a BERT tokenizer",
    )?;
    let vocabulary = WordPiece::read_bytes(&bytes).map_err(|error| Error::tokenizer(&path, error))?;
    let [unknown, separator, padding, class, mask] = special_names(settings);

    let model = WordPiece::builder()
        .vocab(vocabulary)
        .unk_token(unknown.clone())
        .build();
    let model = model.map_err(|error| Error::tokenizer(&path, error))?;
    let mut tokenizer = Tokenizer::new(model);
    let required = |token: &str| {
        let id = tokenizer.token_to_id(token).map(|id| (token.to_owned(), id));
        id.ok_or_else(|| Error::tokenizer(&path, format!("the special token {token:?} is not in the vocabulary")))
    };
    required(&unknown)?;
    let around = BertProcessing::new(required(&separator)?, required(&class)?);

    let flag =
        |field, default| Ok::<_, Error>(settings.map(|file| file.flag(field)).transpose()?.flatten().or(default));
    let normalizer = BertNormalizer::new(
        true,
        flag("tokenize_chinese_chars", Some(true))?.unwrap_or(true),
        flag("strip_accents", None)?,
        flag("do_lower_case", Some(true))?.unwrap_or(true),
    );
    let known = [unknown, separator, padding, class, mask]
        .into_iter()
        .filter(|token| tokenizer.token_to_id(token).is_some());
    let known: Vec<AddedToken> = known.map(|token| AddedToken::from(token, true)).collect();
    tokenizer
        .with_normalizer(Some(normalizer))
        .map_err(|error| Error::tokenizer(&path, error))?;
    tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
    tokenizer.with_post_processor(Some(around));
    tokenizer
        .add_special_tokens(known)
        .map_err(|error| Error::tokenizer(&path, error))?;
    Ok((tokenizer, path, bytes))
}

/// The names of the special tokens; `tokenizer_config.json` has them as texts or as objects with a `content`.
fn special_names(settings: Option<&JsonFile>) -> [String; 5] {
    SPECIAL.map(|(field, default)| {
        let value = settings.and_then(|file| file.get(field));
        let name = value.and_then(|value| value.as_str().or_else(|| value.get("content")?.as_str()));
        name.unwrap_or(default).to_owned()
    })
}
