//! The one key of a service, and with it the one algorithm: a token cannot choose how it is verified (RFC
//! 8725, section 3.1). Errors name the setting and the path, never the content.

use std::fs;
use std::ops::RangeInclusive;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};

use super::public_key::{self, PublicKey};
use super::signatures;
use crate::settings::{DEMO_SECRET, JwtSettings};
use crate::text::without_byte_order_mark;

const SETTINGS: &str = "JWT_SECRET, JWT_SECRET_FILE and JWT_PUBLIC_KEY_FILE";
/// RFC 7518, section 3.2: an HS256 key has at least the 256 bits of the hash.
const SECRET_MIN_BYTES: usize = 32;
/// What some editors write before a text in UTF-8, and in both kinds of UTF-16.
const BYTE_ORDER_MARKS: [&[u8]; 3] = [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"];
/// At least 2048 bits (RFC 7518, section 3.3), at most what can be verified.
const RSA_MODULUS_BYTES: RangeInclusive<usize> = 256..=1024;

pub struct Key {
    pub algorithm: Algorithm,
    pub verifying: DecodingKey,
    /// A public key cannot sign.
    pub signing: Option<EncodingKey>,
}

impl Key {
    /// The key of the one setting that gives one. An empty value counts as not given.
    pub fn load(settings: &JwtSettings) -> Result<Self> {
        signatures::install();
        let secret = settings.jwt_secret.as_ref().map(|secret| secret.expose().as_bytes());
        let [secret_file, public_key_file] = [&settings.jwt_secret_file, &settings.jwt_public_key_file]
            .map(|path| path.as_deref().filter(|path| !path.as_os_str().is_empty()));
        match (secret.filter(|secret| !secret.is_empty()), secret_file, public_key_file) {
            (Some(secret), None, None) => Self::from_secret(secret).context("JWT_SECRET"),
            (None, Some(path), None) => fs::read(path)
                .context("cannot be read")
                .and_then(|content| Self::from_secret(without_line_end(&content)))
                .with_context(|| format!("JWT_SECRET_FILE {}", path.display())),
            (None, None, Some(path)) => fs::read(path)
                .context("cannot be read")
                .and_then(|content| Self::from_pem(&content))
                .with_context(|| format!("JWT_PUBLIC_KEY_FILE {}", path.display())),
            (None, None, None) => bail!("set one of {SETTINGS}; none is set"),
            _ => bail!("set only one of {SETTINGS}; several are set"),
        }
    }

    /// An HS256 key. Warns when it is the published one.
    fn from_secret(secret: &[u8]) -> Result<Self> {
        // It would be part of the secret, which then looks like the one of the other service and is not.
        ensure!(
            !BYTE_ORDER_MARKS.iter().any(|mark| secret.starts_with(mark)),
            "must not begin with a byte order mark; save it as UTF-8 without one"
        );
        ensure!(
            !secret.trim_ascii_start().starts_with(b"-----BEGIN"),
            "must be a secret and not a PEM file; a public key goes into JWT_PUBLIC_KEY_FILE"
        );
        let length = secret.len();
        ensure!(length >= SECRET_MIN_BYTES, "must have at least {SECRET_MIN_BYTES} bytes, has {length}");
        if secret == DEMO_SECRET.as_bytes() {
            tracing::warn!("JWT_SECRET is the published demo secret: anybody can sign tokens");
        }
        let (verifying, signing) = (DecodingKey::from_secret(secret), EncodingKey::from_secret(secret));
        Ok(Self { algorithm: Algorithm::HS256, verifying, signing: Some(signing) })
    }

    /// An Ed25519 or RSA key in the form that `openssl pkey -pubout` writes.
    fn from_pem(pem: &[u8]) -> Result<Self> {
        let der = public_key_der(pem).context(
            "must hold one public key in PEM, as `openssl pkey -pubout` writes it: -----BEGIN PUBLIC KEY-----",
        )?;
        match public_key::parse(&der) {
            Some(PublicKey::Ed25519(key)) => {
                let verifying = DecodingKey::from_ed_der(key);
                Ok(Self { algorithm: Algorithm::EdDSA, verifying, signing: None })
            }
            Some(PublicKey::Rsa { key, modulus_bytes }) => {
                let has_size = RSA_MODULUS_BYTES.contains(&modulus_bytes);
                ensure!(has_size, "an RSA key must have 2048 to 8192 bits, has {}", modulus_bytes * 8);
                let verifying = DecodingKey::from_rsa_der(key);
                Ok(Self { algorithm: Algorithm::RS256, verifying, signing: None })
            }
            None => bail!("must hold an Ed25519 or an RSA key"),
        }
    }
}

/// Editors and `echo` end a file with a line end, which is no part of a secret.
fn without_line_end(content: &[u8]) -> &[u8] {
    let content = content.strip_suffix(b"\n").unwrap_or(content);
    content.strip_suffix(b"\r").unwrap_or(content)
}

/// The SubjectPublicKeyInfo in a PEM file (RFC 7468, section 13).
fn public_key_der(pem: &[u8]) -> Option<Vec<u8>> {
    let text = str::from_utf8(without_byte_order_mark(pem)).ok()?.trim();
    let text = text.strip_prefix("-----BEGIN PUBLIC KEY-----")?.strip_suffix("-----END PUBLIC KEY-----")?;
    let base64: String = text.split_ascii_whitespace().collect();
    BASE64_STANDARD.decode(base64).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The error for a file with this key, without what `openssl` adds.
    fn refusal(der: &[u8]) -> String {
        let base64 = BASE64_STANDARD.encode(der);
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{base64}\n-----END PUBLIC KEY-----");
        Key::from_pem(pem.as_bytes()).err().map(|error| format!("{error:#}")).unwrap_or_default()
    }

    /// One element of DER (X.690) with a content of at most 65,535 bytes.
    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82][..], &length, content].concat()
    }

    /// An RSA public key with a modulus of this many bytes.
    fn rsa_key(modulus_bytes: usize) -> Vec<u8> {
        let modulus = [&[0][..], &vec![0xc5; modulus_bytes]].concat();
        let numbers = [element(0x02, &modulus), element(0x02, &[1, 0, 1])].concat();
        let algorithm = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
        let bits = [&[0][..], &element(0x30, &numbers)].concat();
        element(0x30, &[&algorithm[..], &element(0x03, &bits)].concat())
    }

    #[test]
    fn a_weak_or_an_unknown_kind_of_key_is_refused() {
        for (bytes, bits) in [(128, 1024), (255, 2040), (1025, 8200)] {
            let refusal = refusal(&rsa_key(bytes));
            assert!(refusal.contains("2048") && refusal.contains(&bits.to_string()), "{refusal}");
        }
        for bytes in [256, 1024] {
            assert_eq!(refusal(&rsa_key(bytes)), "");
        }
        // A point of the curve P-256 (RFC 5480, section 2).
        let p256 = b"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
        let point = element(0x03, &[&[0, 4][..], &[0x17; 64]].concat());
        let refusal = refusal(&element(0x30, &[&p256[..], &point].concat()));
        assert!(refusal.contains("Ed25519 or an RSA key"), "{refusal}");
    }
}
