//! A key's text and its hash. 43 characters of an alphabet of 62 are 256 bits: a plain SHA-256 is enough to store one,
//! and slow hashes, which are for what people choose themselves, would only cost each call.

use std::fmt::Write as _;

use rand::RngExt as _;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::Secret;

/// Secret scanners find `dunlin_[0-9A-Za-z]{43}`.
const PREFIX: &str = "dunlin_";
const LENGTH: usize = 43;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A longer one is not ours, and not hashed.
const TEXT_BYTES_MAX: usize = 256;

/// A new key. The generator is seeded by the operating system and is fit for keys.
pub(super) fn new() -> Secret {
    let mut random = rand::rng();
    let letters = (0..LENGTH).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())]));
    Secret(PREFIX.chars().chain(letters).collect::<String>().into())
}

/// SHA-256 of a key's text.
#[derive(Debug, Clone, Copy, Eq)]
pub(super) struct Hash([u8; 32]);

impl Hash {
    pub(super) fn of(text: &[u8]) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// `None` for what is too long to be a key.
    pub(super) fn of_sent(text: &[u8]) -> Option<Self> {
        (text.len() <= TEXT_BYTES_MAX).then(|| Self::of(text))
    }

    /// Where to look for it. That these few bytes are looked up in a time that depends on them tells nothing: nobody can
    /// choose a text by its hash.
    pub(super) fn shelf(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    pub(super) fn to_hex(self) -> String {
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    pub(super) fn from_hex(text: &str) -> Option<Self> {
        let mut hash = [0; 32];
        if text.len() != 2 * hash.len() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        for (i, byte) in hash.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()?;
        }
        Some(Self(hash))
    }
}

/// In a time that does not depend on where they differ.
impl PartialEq for Hash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_keys_are_found_by_scanners_and_never_alike() {
        let (one, other) = (new(), new());
        for key in [&one, &other] {
            let random = key.reveal().strip_prefix("dunlin_").unwrap();
            assert_eq!(random.len(), 43);
            assert!(random.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{random}");
        }
        assert_ne!(one, other);
        assert_eq!(format!("{one} {one:?}"), "(hidden) (hidden)");
    }

    #[test]
    fn hash_survives_the_file() {
        let hash = Hash::of(b"abc");
        assert_eq!(hash.to_hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(Hash::from_hex(&hash.to_hex()), Some(hash));
        for bad in ["", "ba78", &"g".repeat(64), &"é".repeat(32)] {
            assert_eq!(Hash::from_hex(bad), None, "{bad}");
        }
        assert_eq!(Hash::of_sent(&[b'a'; 257]), None);
    }
}
