//! What a public key in DER is: a SubjectPublicKeyInfo (RFC 5280, section 4.1.2.7), as `openssl pkey -pubout`
//! writes it.

/// An AlgorithmIdentifier: RSA (RFC 8017, appendix A.1) with its NULL, and Ed25519 (RFC 8410, section 3).
const RSA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
const ED25519: &[u8] = b"\x06\x03\x2b\x65\x70";

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

/// With the key's own bytes, which ring takes.
#[derive(Debug, PartialEq, Eq)]
pub enum PublicKey<'a> {
    Ed25519(&'a [u8]),
    Rsa { key: &'a [u8], modulus_bytes: usize },
}

/// `None`: it is damaged, or a key of another kind.
pub fn parse(der: &[u8]) -> Option<PublicKey<'_>> {
    let (info, []) = element(SEQUENCE, der)? else { return None };
    let (algorithm, rest) = element(SEQUENCE, info)?;
    let (bits, []) = element(BIT_STRING, rest)? else { return None };
    // Of the last byte no bit is unused.
    let key = bits.strip_prefix(&[0])?;
    match algorithm {
        ED25519 => (key.len() == 32).then_some(PublicKey::Ed25519(key)),
        RSA => modulus_bytes(key).map(|modulus_bytes| PublicKey::Rsa { key, modulus_bytes }),
        _ => None,
    }
}

/// Of an RSAPublicKey (RFC 8017, appendix A.1.1). Whether its numbers are sound, ring looks at each time.
fn modulus_bytes(key: &[u8]) -> Option<usize> {
    let (numbers, []) = element(SEQUENCE, key)? else { return None };
    let (modulus, rest) = element(INTEGER, numbers)?;
    let (_exponent, []) = element(INTEGER, rest)? else { return None };
    // A zero before the highest bit keeps a number positive.
    Some(modulus.strip_prefix(&[0]).unwrap_or(modulus).len())
}

/// The content of the element of this kind that `der` begins with, and what follows it. No key has 64 KiB.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = match der.strip_prefix(&[tag])? {
        [0x82, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        [0x81, length, rest @ ..] => (usize::from(*length), rest),
        [length @ ..=0x7f, rest @ ..] => (usize::from(*length), rest),
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `openssl genpkey -algorithm ed25519 | openssl pkey -pubout -outform DER` writes it.
    const KEY: [u8; 44] =
        *b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x000123456789abcdef0123456789abcdef";

    #[test]
    fn a_damaged_key_is_none() {
        assert_eq!(parse(&KEY), Some(PublicKey::Ed25519(b"0123456789abcdef0123456789abcdef")));
        for length in 0..KEY.len() {
            assert_eq!(parse(&KEY[..length]), None, "{length} bytes of it");
        }
        assert_eq!(parse(&[&KEY[..], &[0]].concat()), None, "something follows");
        for index in 0..12 {
            let mut damaged = KEY;
            damaged[index] ^= 1;
            assert_eq!(parse(&damaged), None, "byte {index}");
        }
    }
}
