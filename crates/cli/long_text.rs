//! `--long`: what becomes of texts that are longer than the model reads.

use std::str::FromStr;
use tamis_encoder::{CheckpointOptions, LongText};

/// The choice, where the command makes one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Long(Option<LongText>);

impl Long {
    /// Tokens that neighbouring windows share, unless told.
    const OVERLAP: usize = 32;

    /// As options of a checkpoint, which says itself what is done where the command does not.
    pub fn options(self) -> CheckpointOptions {
        CheckpointOptions {
            long_text: self.0,
            ..CheckpointOptions::default()
        }
    }
}

impl FromStr for Long {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let overlap = match text.split_once(':') {
            None if text == "truncate" => return Ok(Self(Some(LongText::Truncate))),
            None if text == "windows" => Some(Self::OVERLAP),
            Some(("windows", overlap)) => overlap.parse().ok(),
            _ => None,
        };
        let overlap = overlap.ok_or("truncate, windows or windows:OVERLAP, with a number of tokens")?;
        Ok(Self(Some(LongText::Windows { overlap })))
    }
}
