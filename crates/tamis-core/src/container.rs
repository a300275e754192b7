//! The file container: named sections, each with a checksum, behind a versioned header.
//!
//! Every file Tamis writes has this form, so damage is always found in the same way and reported with
//! file kind, section, expected and found. All integers are little endian; the layout is specified in
//! `index/README.md`.
//!
//! ```text
//! header   64 bytes: magic "TAMISBOX", kind (8 ASCII bytes), container version, kind version, CRC-32, zeros
//! sections each starting at a multiple of 64 bytes, zero padding between
//! table    48 bytes a section: name (24 bytes, zero padded), offset, length, CRC-32, zero
//! trailer  32 bytes: table offset, number of sections, CRC-32 of the table, CRC-32 of the trailer before, magic
//! ```

mod reader;
mod writer;

pub use reader::{Container, ContainerError};
pub use writer::ContainerWriter;

/// First and last bytes of every file.
pub const MAGIC: [u8; 8] = *b"TAMISBOX";

/// Version of the container layout itself.
pub const CONTAINER_VERSION: u32 = 1;

/// Sections start at multiples of this many bytes, so that mapped slices of any integer are aligned.
pub const SECTION_ALIGNMENT: usize = 64;

const HEADER_BYTES: usize = 64;
const NAME_BYTES: usize = 24;
const ENTRY_BYTES: usize = 48;
const TRAILER_BYTES: usize = 32;

/// What a file holds: its kind and the version of that kind's layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileKind {
    /// Eight ASCII bytes.
    pub name: [u8; 8],
    /// The version of the layout; readers refuse versions above the one they know.
    pub version: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KIND: FileKind = FileKind {
        name: *b"testfile",
        version: 3,
    };

    fn sample() -> Vec<u8> {
        let mut writer = ContainerWriter::new(Vec::new(), KIND).expect("memory");
        writer.section("alpha", &[1, 2, 3]).expect("memory");
        writer.section("empty", &[]).expect("memory");
        writer
            .section_with("beta", |out| (0..100u8).try_for_each(|byte| out.write_all(&[byte])))
            .expect("memory");
        writer.finish().expect("memory")
    }

    #[test]
    fn gives_back_what_was_written() {
        let bytes = sample();
        let container = Container::open(&bytes, KIND).expect("own bytes");
        container.verify(&bytes).expect("undamaged");
        assert_eq!(container.section(&bytes, "alpha").expect("there"), [1, 2, 3]);
        assert_eq!(container.section(&bytes, "empty").expect("there"), []);
        assert_eq!(container.section(&bytes, "beta").expect("there").len(), 100);
        assert!(container.names().eq(["alpha", "empty", "beta"]));
        assert!(matches!(
            container.section(&bytes, "gamma"),
            Err(ContainerError::MissingSection { .. })
        ));
    }

    #[test]
    fn every_flipped_bit_is_found_or_harmless() {
        let bytes = sample();
        let (original, mut harmless) = (Container::open(&bytes, KIND).expect("own bytes"), 0);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let Ok(container) = Container::open(&damaged, KIND) else {
                continue;
            };
            if container.verify(&damaged).is_err() {
                continue;
            }
            harmless += 1;
            for name in original.names() {
                assert_eq!(
                    container.section(&damaged, name).expect("there"),
                    original.section(&bytes, name).expect("there"),
                    "bit {bit}"
                );
            }
        }
        let padding_bits = (64 - 3) * 8 + (64 - 100 % 64) * 8;
        assert!(
            harmless <= padding_bits,
            "only padding between sections may change: {harmless}"
        );
    }

    #[test]
    fn truncation_and_other_files_are_refused() {
        let bytes = sample();
        for len in 0..bytes.len() {
            assert!(Container::open(&bytes[..len], KIND).is_err(), "{len} bytes");
        }
        let other = FileKind {
            name: *b"other   ",
            version: 3,
        };
        assert!(matches!(
            Container::open(&bytes, other),
            Err(ContainerError::WrongKind { .. })
        ));
        let older = FileKind { version: 2, ..KIND };
        assert!(matches!(
            Container::open(&bytes, older),
            Err(ContainerError::NewerVersion { found: 3, known: 2, .. })
        ));
    }

    #[test]
    fn a_section_name_is_written_once() {
        let mut writer = ContainerWriter::new(Vec::new(), KIND).expect("memory");
        writer.section("alpha", &[1]).expect("memory");
        assert!(writer.section("alpha", &[2]).is_err());
        assert!(writer.section("a name that is far too long for it", &[2]).is_err());
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Container::open(&bytes, KIND).is_err());
        }

        #[test]
        fn random_damage_never_panics(at in 0usize..400, junk in prop::collection::vec(any::<u8>(), 1..60)) {
            let mut bytes = sample();
            for (offset, byte) in junk.into_iter().enumerate() {
                let len = bytes.len();
                bytes[(at + offset) % len] = byte;
            }
            if let Ok(container) = Container::open(&bytes, KIND) {
                let _ = container.verify(&bytes);
            }
        }
    }
}
