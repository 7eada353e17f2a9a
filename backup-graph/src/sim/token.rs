//! Opaque tokens: paging positions, delta positions and pre-authenticated addresses, signed so that made-up ones show.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const MAC_BYTES: usize = 12;

/// A keyed hash of a text.
pub(super) fn mac(key: &[u8; 32], text: &str) -> Vec<u8> {
    blake3::keyed_hash(key, text.as_bytes()).as_bytes().to_vec()
}

/// Seals `payload` into text that only this tenant can have made.
pub(super) fn seal(key: &[u8; 32], payload: &str) -> String {
    let mac = blake3::keyed_hash(key, payload.as_bytes());
    let mut bytes = mac.as_bytes()[..MAC_BYTES].to_vec();
    bytes.extend_from_slice(payload.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The payload, if this tenant made the token.
pub(super) fn open(key: &[u8; 32], token: &str) -> Option<String> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (mac, payload) = bytes.split_at_checked(MAC_BYTES)?;
    (blake3::keyed_hash(key, payload).as_bytes()[..MAC_BYTES] == *mac).then_some(())?;
    String::from_utf8(payload.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_tokens_open() {
        let token = seal(&[1; 32], "full|0");
        assert_eq!(open(&[1; 32], &token).as_deref(), Some("full|0"));
        assert_eq!(open(&[2; 32], &token), None);
        assert_eq!(open(&[1; 32], &format!("A{token}")), None);
        assert_eq!(open(&[1; 32], ""), None);
    }
}
