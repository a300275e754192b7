//! Configuration files: reading them, and fields with a range.

use crate::{Error, files};
use serde_json::Value;
use std::io::ErrorKind;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// Reads a whole file, which must be there.
pub(super) fn read_bytes(path: &Path, remedy: &'static str) -> Result<Vec<u8>, Error> {
    read_if_present(path)?.ok_or_else(|| Error::MissingFile {
        path: path.to_owned(),
        remedy,
    })
}

/// Reads a whole file, or gives `None` where there is none.
pub(super) fn read_if_present(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match files::read(path) {
        Ok(bytes) => Ok(Some(bytes.into_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// A JSON file with its path, so that errors can name it.
#[derive(Clone, Debug)]
pub(super) struct JsonFile {
    pub(super) path: PathBuf,
    pub(super) value: Value,
    pub(super) bytes: Vec<u8>,
}

impl JsonFile {
    /// Reads `path`, which must be there.
    pub(super) fn read(path: &Path, remedy: &'static str) -> Result<Self, Error> {
        Self::parse(path, read_bytes(path, remedy)?)
    }

    /// Reads `path` if it is there.
    pub(super) fn read_if_present(path: &Path) -> Result<Option<Self>, Error> {
        read_if_present(path)?.map(|bytes| Self::parse(path, bytes)).transpose()
    }

    /// `bytes` as the content of `path`.
    pub(super) fn parse(path: &Path, bytes: Vec<u8>) -> Result<Self, Error> {
        let value = serde_json::from_slice(&bytes).map_err(|source| Error::Json {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            path: path.to_owned(),
            value,
            bytes,
        })
    }

    /// The field, unless it is missing or null.
    pub(super) fn get(&self, field: &str) -> Option<&Value> {
        self.value.get(field).filter(|value| !value.is_null())
    }

    /// A field that must be there.
    pub(super) fn required(&self, field: &str, expected: &str) -> Result<&Value, Error> {
        self.get(field)
            .ok_or_else(|| Error::field(&self.path, field, expected, "nothing"))
    }

    /// A whole number that must be there and in `range`.
    pub(super) fn count(&self, field: &str, range: RangeInclusive<usize>) -> Result<usize, Error> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        let value = self.required(field, &expected)?;
        let count = value.as_u64().and_then(|count| usize::try_from(count).ok());
        count
            .filter(|count| range.contains(count))
            .ok_or_else(|| Error::field(&self.path, field, expected, value))
    }

    /// As [`JsonFile::count`], of a number that has a default.
    pub(super) fn count_or(&self, field: &str, range: RangeInclusive<usize>, default: usize) -> Result<usize, Error> {
        match self.get(field) {
            None => Ok(default),
            Some(_) => self.count(field, range),
        }
    }

    /// A text, where there is one.
    pub(super) fn text(&self, field: &str) -> Result<Option<&str>, Error> {
        let text = |value: &'_ Value| Error::field(&self.path, field, "a text", value);
        self.get(field)
            .map(|value| value.as_str().ok_or_else(|| text(value)))
            .transpose()
    }

    /// A truth value, where there is one.
    pub(super) fn flag(&self, field: &str) -> Result<Option<bool>, Error> {
        let flag = |value: &'_ Value| Error::field(&self.path, field, "true or false", value);
        self.get(field)
            .map(|value| value.as_bool().ok_or_else(|| flag(value)))
            .transpose()
    }
}
