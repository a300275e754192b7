//! What an index file carries beside the postings.

use crate::Error;
use tamis_core::Vocabulary;

/// How the names of sections of one's own begin.
pub(crate) const EXTRA_PREFIX: &str = "x-";

/// Longest name of a section.
const MAX_NAME_BYTES: usize = 24;

/// Sections that a search does not need and that whoever builds the index may want in the same file.
#[derive(Clone, Debug, Default)]
pub struct Extras {
    /// The term dictionary; must know every term of the index.
    pub vocabulary: Option<Vocabulary>,
    /// The user's own id of each document, by [`DocId`](tamis_core::DocId).
    pub external_ids: Option<Vec<String>>,
    /// Sections of one's own: a name that starts with `x-` and has at most 24 bytes, and any content.
    pub sections: Vec<(String, Vec<u8>)>,
}

impl Extras {
    /// Checks names and the number of ids.
    pub(crate) fn validate(&self, num_docs: u32) -> Result<(), Error> {
        if let Some(ids) = &self.external_ids
            && ids.len() != num_docs as usize
        {
            return Err(Error::ExternalIds {
                expected: num_docs,
                found: ids.len(),
            });
        }
        for (at, (name, _)) in self.sections.iter().enumerate() {
            let repeated = self.sections[..at].iter().any(|(other, _)| other == name);
            if !name.starts_with(EXTRA_PREFIX) || name.len() > MAX_NAME_BYTES || repeated || name.contains('\0') {
                return Err(Error::SectionName { name: name.clone() });
            }
        }
        Ok(())
    }
}
