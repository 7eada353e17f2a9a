//! Data to measure with: the same bytes for the same seed, so that two runs compare.

mod files;

pub use files::Files;

/// `len` bytes that do not compress.
#[must_use]
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// About `len` bytes of text that compresses about as well as prose and code do (zstd level 3: 4 to 6 : 1).
#[must_use]
pub fn text(len: usize, seed: u64) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "backup", "the", "of", "and", "return", "mailbox", "document", "if", "to", "quarter", "static",
        "report", "in", "const", "meeting", "struct",
    ];
    let mut bytes = Vec::with_capacity(len + 16);
    for (count, byte) in noise(len / 3, seed).into_iter().enumerate() {
        if bytes.len() >= len {
            break;
        }
        if byte < 16 {
            bytes.extend_from_slice(count.to_string().as_bytes());
        } else {
            bytes.extend_from_slice(WORDS[usize::from(byte % 16)].as_bytes());
        }
        bytes.push(if byte > 240 { b'\n' } else { b' ' });
    }
    bytes
}
