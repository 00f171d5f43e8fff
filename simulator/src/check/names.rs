//! Small stand-ins for ids and names, so that millions of orders fit into memory.

use std::collections::HashMap;
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use uuid::Uuid;

/// A user or a product, by its number in [`Names`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(u32);

/// An order's id: its UUID v7, or for ids made by hand their number in [`Names`], counted from the top.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId(u128);

/// The texts behind both. Each is kept once.
#[derive(Debug, Default)]
pub struct Names {
    texts: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
}

impl Names {
    pub fn name(&mut self, text: &str) -> Name {
        if let Some(number) = self.numbers.get(text) {
            return Name(*number);
        }
        // More than 4 billion names would not fit into memory as texts either.
        let number = self.texts.len() as u32;
        let text: Arc<str> = text.into();
        self.texts.push(text.clone());
        self.numbers.insert(text, number);
        Name(number)
    }

    pub fn text(&self, name: Name) -> &str {
        &self.texts[name.0 as usize]
    }

    pub fn amount(&self, quantity: i64, product: Name) -> String {
        format!("{quantity} of product {}", self.text(product))
    }

    pub fn order(&mut self, text: &str) -> OrderId {
        match canonical_v7(text) {
            Some(number) => OrderId(number),
            // No version 7 UUID begins with ones only: its version would be 15.
            None => OrderId(u128::MAX - u128::from(self.name(text).0)),
        }
    }

    pub fn order_text(&self, id: OrderId) -> String {
        match u32::try_from(u128::MAX - id.0) {
            Ok(number) => self.text(Name(number)).to_owned(),
            Err(_) => Uuid::from_u128(id.0).to_string(),
        }
    }
}

/// The number of a version 7 UUID in its usual spelling; any other spelling is another id.
fn canonical_v7(text: &str) -> Option<u128> {
    let uuid = Uuid::try_parse(text).ok().filter(|uuid| uuid.get_version_num() == 7)?;
    let mut buffer = Uuid::encode_buffer();
    (uuid.hyphenated().encode_lower(&mut buffer) == text).then_some(uuid.as_u128())
}

/// 128 bits that stand for an idempotency key: keys are only ever compared.
pub fn fingerprint(key: &str) -> u128 {
    let digest = digest(&SHA256, key.as_bytes());
    digest.as_ref().iter().take(16).fold(0, |number, byte| number << 8 | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_text_comes_back_as_it_was_and_no_two_share_a_stand_in() {
        let mut names = Names::default();
        let texts = [
            "0199aabb-ccdd-7eef-8001-020304050607",
            "0199AABB-CCDD-7EEF-8001-020304050607",
            "0199aabbccdd7eef8001020304050607",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "demo-1",
            "",
        ];
        let ids: Vec<OrderId> = texts.iter().map(|text| names.order(text)).collect();
        for (text, id) in texts.iter().zip(&ids) {
            assert_eq!(names.order_text(*id), *text);
            assert_eq!(names.order(text), *id);
        }
        let unique: HashSet<OrderId> = ids.into_iter().collect();
        assert_eq!(unique.len(), texts.len());
    }

    #[test]
    fn keys_that_differ_have_different_fingerprints() {
        assert_ne!(fingerprint("load-1-1"), fingerprint("load-1-11"));
        assert_eq!(fingerprint("a"), fingerprint("a"));
    }
}
