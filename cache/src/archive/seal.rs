//! What proves an archive: a digest against accidents, a keyed one against other people.
//!
//! The digest at the end of an archive shows damage to whoever reads it. The digest of the whole
//! file is told by an export, so that an import can demand exactly that file. A signature is
//! BLAKE3 under a key that both sides know.

use std::fmt;
use std::str::FromStr;

use crate::key::hex;

const KEY_CONTEXT: &str = "dapper store: key that archives are signed with";
const DIGEST_NAME: &str = "blake3:";

/// The key that archives are signed with; it is never shown.
#[derive(Clone)]
pub struct SigningKey([u8; 32]);

impl SigningKey {
    /// 64 hexadecimal digits are the key itself; a key is derived from any other text. Blanks
    /// around it do not count, and there is no key in an empty text.
    #[must_use]
    pub fn from_text(text: &[u8]) -> Option<Self> {
        let text = text.trim_ascii();
        if text.is_empty() {
            return None;
        }
        let digits = std::str::from_utf8(text).map(str::to_ascii_lowercase);
        let key = digits.ok().and_then(|digits| hex(&digits));
        Some(Self(
            key.unwrap_or_else(|| blake3::derive_key(KEY_CONTEXT, text)),
        ))
    }

    /// Starts a signature.
    pub(super) fn hasher(&self) -> blake3::Hasher {
        blake3::Hasher::new_keyed(&self.0)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

/// BLAKE3 of all bytes of an archive, as `b3sum` tells it; written `blake3:` and 64 digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ArchiveDigest(pub(super) blake3::Hash);

impl fmt::Display for ArchiveDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{DIGEST_NAME}{}", self.0.to_hex())
    }
}

impl fmt::Debug for ArchiveDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ArchiveDigest({self})")
    }
}

impl FromStr for ArchiveDigest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.strip_prefix(DIGEST_NAME).map(str::to_ascii_lowercase);
        let bytes = digits.and_then(|digits| hex(&digits));
        let wrong =
            || format!("expected {DIGEST_NAME} and 64 hexadecimal digits, as export prints");
        Ok(Self(blake3::Hash::from_bytes(bytes.ok_or_else(wrong)?)))
    }
}
