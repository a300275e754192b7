//! The user's own ids of documents: one text, and where each id ends in it.

use crate::Error;
use crate::mmap::SharedSlice;
use crate::validate::Damage;
use tamis_core::DocId;

/// External ids as stored: `ids.ends` (u32 each) and `ids.text`.
#[derive(Clone)]
pub(crate) struct ExternalIds {
    ends: SharedSlice<u32>,
    text: SharedSlice<u8>,
}

impl ExternalIds {
    /// Takes the two sections after checking that they are `num_docs` pieces of valid text.
    pub(crate) fn new(ends: SharedSlice<u32>, text: SharedSlice<u8>, num_docs: u32) -> Result<Self, Damage> {
        if ends.len() != num_docs as usize {
            return Err(Damage::new("ids.ends", "length", num_docs, ends.len()));
        }
        let all = std::str::from_utf8(&text).map_err(|error| {
            Damage::new(
                "ids.text",
                "text",
                "UTF-8",
                format!("an error at {}", error.valid_up_to()),
            )
        })?;
        let mut start = 0;
        for (doc, &end) in ends.iter().enumerate() {
            if all.get(start..end as usize).is_none() {
                let place = format!("document {doc}");
                return Err(Damage::new("ids.ends", place, "the end of an id", end));
            }
            start = end as usize;
        }
        if start != all.len() {
            return Err(Damage::new("ids.text", "length", start, all.len()));
        }
        Ok(Self { ends, text })
    }

    /// The id of `doc`, if there is such a document.
    pub(crate) fn get(&self, doc: DocId) -> Option<&str> {
        let end = *self.ends.get(doc.index())? as usize;
        let start = doc
            .index()
            .checked_sub(1)
            .map_or(0, |before| self.ends[before] as usize);
        std::str::from_utf8(self.text.get(start..end)?).ok()
    }
}

/// The content of section `ids.ends`.
pub(crate) fn ends(ids: &[String]) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::with_capacity(4 * ids.len());
    let mut end = 0u64;
    for id in ids {
        end += id.len() as u64;
        let end = u32::try_from(end).map_err(|_| Error::TooLarge {
            what: "bytes of external ids",
            found: end,
            limit: u64::from(u32::MAX),
        })?;
        bytes.extend_from_slice(&end.to_le_bytes());
    }
    Ok(bytes)
}
