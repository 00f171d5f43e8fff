//! The one key of a service, and with it the one algorithm: a token cannot choose how it is verified (RFC
//! 8725, section 3.1). Errors name the setting and the path, never the content.

use std::fs;
use std::ops::RangeInclusive;

use anyhow::{Context, Result, bail, ensure};
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{ED25519, ParsedPublicKey};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};

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
        if ParsedPublicKey::new(&ED25519, &der).is_ok() {
            let verifying = DecodingKey::from_ed_der(&der);
            return Ok(Self { algorithm: Algorithm::EdDSA, verifying, signing: None });
        }
        let Ok(key) = rsa::PublicKey::from_der(&der) else { bail!("must hold an Ed25519 or an RSA key") };
        let bytes = key.modulus_len();
        let has_size = RSA_MODULUS_BYTES.contains(&bytes);
        ensure!(has_size, "an RSA key must have 2048 to 8192 bits, has {}", bytes * 8);
        Ok(Self { algorithm: Algorithm::RS256, verifying: DecodingKey::from_rsa_der(&der), signing: None })
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
    use aws_lc_rs::encoding::AsDer;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};

    use super::*;

    /// The error for a file with this key, without what `openssl` adds.
    fn refusal(der: &[u8]) -> String {
        let base64 = BASE64_STANDARD.encode(der);
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{base64}\n-----END PUBLIC KEY-----");
        Key::from_pem(pem.as_bytes()).err().map(|error| format!("{error:#}")).unwrap_or_default()
    }

    /// An RSA public key (RFC 8017, appendix A.1.1) of this many bytes, from 128 to 65,535.
    fn rsa_key(modulus_bytes: u16) -> Vec<u8> {
        let length = |bytes: u16| match u8::try_from(bytes) {
            Ok(bytes) => vec![0x81, bytes],
            Err(_) => [&[0x82][..], &bytes.to_be_bytes()].concat(),
        };
        let modulus = vec![0xc5; usize::from(modulus_bytes)];
        let modulus = [&[0x02][..], &length(modulus_bytes + 1), &[0], &modulus].concat();
        let numbers = [&modulus[..], &[0x02, 3, 1, 0, 1]].concat();
        [&[0x30][..], &length(numbers.len() as u16), &numbers].concat()
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
        let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let refusal = refusal(p256.public_key().as_der().unwrap().as_ref());
        assert!(refusal.contains("Ed25519 or an RSA key"), "{refusal}");
    }
}
