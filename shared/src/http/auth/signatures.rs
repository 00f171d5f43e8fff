//! What `jsonwebtoken` signs and verifies with: ring, which encrypts the connection to the broker, too.
//!
//! There are the algorithms that a [`Key`](super::keys::Key) can pin, and no other.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::signature::{Error, Signer, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use ring::hmac;
use ring::signature::{ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm};

static RING: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    // For keys as JSON, which nobody gives.
    key_utils: KeyUtils::new_unimplemented(),
};

/// Before the first token. Once more changes nothing.
pub fn install() {
    let _ = RING.install_default();
}

fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    match algorithm {
        Algorithm::HS256 => Ok(Box::new(Secret::new(key.as_bytes()))),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    }
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    let bytes = key.try_get_as_bytes()?;
    let verification: &dyn VerificationAlgorithm = match algorithm {
        Algorithm::HS256 => return Ok(Box::new(Secret::new(bytes))),
        Algorithm::EdDSA => &ED25519,
        Algorithm::RS256 => &RSA_PKCS1_2048_8192_SHA256,
        _ => return Err(ErrorKind::InvalidAlgorithm.into()),
    };
    let key = UnparsedPublicKey::new(verification, bytes.to_vec());
    Ok(Box::new(PublicKey { algorithm: *algorithm, key }))
}

struct Secret(hmac::Key);

impl Secret {
    fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }
}

impl Signer<Vec<u8>> for Secret {
    fn try_sign(&self, text: &[u8]) -> std::result::Result<Vec<u8>, Error> {
        Ok(hmac::sign(&self.0, text).as_ref().to_vec())
    }
}

impl JwtSigner for Secret {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl Verifier<Vec<u8>> for Secret {
    fn verify(&self, text: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        hmac::verify(&self.0, text, signature).map_err(|_| Error::new())
    }
}

impl JwtVerifier for Secret {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

struct PublicKey {
    algorithm: Algorithm,
    key: UnparsedPublicKey<Vec<u8>>,
}

impl Verifier<Vec<u8>> for PublicKey {
    fn verify(&self, text: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        self.key.verify(text, signature).map_err(|_| Error::new())
    }
}

impl JwtVerifier for PublicKey {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
