//! Names of stored things: fixed-size binary ids with lower-case hexadecimal text.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// The id with these bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                let wrong = || Error::invalid(format!("an id of this kind is {} hexadecimal digits", 2 * $len));
                let digits = text.as_bytes();
                if digits.len() != 2 * $len {
                    return Err(wrong());
                }
                let mut bytes = [0; $len];
                for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
                    let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
                    match pair {
                        [high, low] => {
                            *byte = digit(*high).ok_or_else(wrong)? << 4 | digit(*low).ok_or_else(wrong)?;
                        }
                        _ => return Err(wrong()),
                    }
                }
                Ok(Self(bytes))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

id!(
    /// A repository, chosen at random when it is created; part of every sealed object's associated data.
    RepoId,
    16
);
id!(
    /// A chunk: the keyed BLAKE3 of its plaintext. Equal content in one class of one repository has one id.
    ChunkId,
    32
);
id!(
    /// A stored object (pack, segment, snapshot), chosen at random; its name in the store contains it.
    ObjectId,
    16
);
id!(
    /// One committed state of a collection.
    SnapshotId,
    16
);
id!(
    /// One writer's run.
    SessionId,
    16
);
id!(
    /// What a repository's signatures are checked with. No secret: whoever has it can scrub, and read nothing.
    PublicKey,
    32
);
id!(
    /// The BLAKE3 of a whole sealed object as it lies in the store.
    ObjectHash,
    32
);

impl From<ObjectId> for SnapshotId {
    fn from(id: ObjectId) -> Self {
        Self(id.0)
    }
}

impl From<SnapshotId> for ObjectId {
    fn from(id: SnapshotId) -> Self {
        Self(id.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_nonsense_is_refused() {
        let id = RepoId::from_bytes(*b"0123456789abcdef");
        assert_eq!(id.to_string().parse::<RepoId>().unwrap(), id);
        for text in ["", "00", "zz123456789abcdef0123456789abcde", "é0123456789abcdef0123456789abcde"] {
            assert!(text.parse::<RepoId>().is_err(), "{text}");
        }
    }
}
