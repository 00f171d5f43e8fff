//! The tokens that verified lately: a client sends the same one with each request, and a signature costs more than
//! all the rest of the check. What passes with time, `exp` and `nbf`, is checked each time.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::claims::Claims;

/// Tokens that are remembered; then all are forgotten, and the ones in use come back.
const REMEMBERED_MAX: usize = 1_000;
/// A longer one is verified each time: nobody can fill the memory.
const TOKEN_MAX_BYTES: usize = 1_024;

#[derive(Default)]
pub(super) struct Verified(Mutex<HashMap<Box<str>, Claims>>);

impl Verified {
    /// The claims of a token that verified before.
    pub fn claims(&self, token: &str) -> Option<Claims> {
        self.tokens().get(token).cloned()
    }

    pub fn remember(&self, token: &str, claims: &Claims) {
        if token.len() > TOKEN_MAX_BYTES {
            return;
        }
        let mut tokens = self.tokens();
        if tokens.len() >= REMEMBERED_MAX {
            tokens.clear();
        }
        tokens.insert(token.into(), claims.clone());
    }

    fn tokens(&self) -> MutexGuard<'_, HashMap<Box<str>, Claims>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
