//! Key material in memory: wiped when dropped, never printed.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// A 32-byte secret. Wiped when dropped; `Debug` shows nothing of it.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Takes the bytes; wipe your own copy.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for a cipher.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What opens a repository. Wiped when dropped; `Debug` shows only the kind.
#[derive(Clone)]
#[non_exhaustive]
pub enum Credential {
    /// A passphrase, stretched with Argon2id.
    Passphrase(Passphrase),
    /// A 32-byte key that the embedder keeps somewhere safe.
    RawKey(Secret),
}

/// A passphrase's bytes. Wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Passphrase(Vec<u8>);

impl Passphrase {
    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

impl Credential {
    /// A passphrase: any bytes, as they are (no Unicode normalisation).
    pub fn passphrase(text: impl AsRef<[u8]>) -> Self {
        Self::Passphrase(Passphrase(text.as_ref().to_vec()))
    }

    /// A raw key of 32 unpredictable bytes.
    #[must_use]
    pub const fn raw_key(key: [u8; 32]) -> Self {
        Self::RawKey(Secret::new(key))
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passphrase(_) => "Credential::Passphrase(..)",
            Self::RawKey(_) => "Credential::RawKey(..)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_shows_a_secret() {
        let canary = "canary-4711";
        for text in [
            format!("{:?}", Credential::passphrase(canary)),
            format!("{:?}", Credential::raw_key(*b"canary-4711canary-4711canary-471")),
            format!("{:?}", Secret::new([7; 32])),
        ] {
            assert!(!text.contains("canary") && !text.contains('7'), "{text}");
        }
    }
}
