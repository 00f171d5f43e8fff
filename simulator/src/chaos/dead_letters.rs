//! Poison leaves its dead letters and nothing else does.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use sqlx::Connection;

use super::messages::Poison;
use crate::check;

type Message = (String, Vec<u8>);

/// What is wrong with the dead letters of both databases, given what was sent and the wipes of the broker.
pub async fn check(folder: &Path, sent: &[(usize, Poison)], wipes: usize) -> Result<Vec<String>> {
    let mut found = read(&folder.join("order.db")).await?;
    found.extend(read(&folder.join("inventory.db")).await?);
    Ok(compare(sent, wipes, found))
}

/// A poison message may be missing only if a wipe of the broker came after it.
fn compare(sent: &[(usize, Poison)], wipes: usize, mut found: BTreeMap<Message, String>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (wipes_before, poison) in sent {
        let body = String::from_utf8_lossy(&poison.body);
        match found.remove(&(poison.subject.to_owned(), poison.body.to_vec())) {
            Some(reason) if reason == poison.reason => {}
            Some(reason) => wrong.push(format!(
                "the dead letter of {body} on {} names {reason} instead of {}",
                poison.subject, poison.reason
            )),
            None if *wipes_before < wipes => {}
            None => wrong.push(format!("{body} on {} left no dead letter", poison.subject)),
        }
    }
    wrong.extend(found.into_iter().map(|((subject, body), reason)| {
        format!("{} on {subject} became a dead letter: {reason}", String::from_utf8_lossy(&body))
    }));
    wrong
}

async fn read(database: &Path) -> Result<BTreeMap<Message, String>> {
    let context = || format!("cannot read the dead letters of {}", database.display());
    let mut connection = check::open(database).await.with_context(context)?;
    let rows = sqlx::query_as("SELECT subject, body, reason FROM dead_letters").fetch_all(&mut connection);
    let rows: Vec<(String, Vec<u8>, String)> = rows.await.with_context(context)?;
    connection.close().await?;
    Ok(rows.into_iter().map(|(subject, body, reason)| ((subject, body), reason)).collect())
}

#[cfg(test)]
mod tests {
    use shared::contract::subjects::ORDER_CREATED;

    use super::*;

    fn poison(body: &'static str) -> Poison {
        Poison { subject: ORDER_CREATED, body: body.into(), reason: "invalid_event" }
    }

    fn found(letters: &[(&str, &str)]) -> BTreeMap<Message, String> {
        let message = |body: &str| (ORDER_CREATED.to_owned(), body.into());
        letters.iter().map(|(body, reason)| (message(body), (*reason).to_owned())).collect()
    }

    #[test]
    fn poison_that_left_its_dead_letter_is_as_it_should_be() {
        let sent = [(1, poison("a")), (0, poison("lost with the broker's data"))];
        assert_eq!(compare(&sent, 1, found(&[("a", "invalid_event")])), Vec::<String>::new());
    }

    #[test]
    fn a_missing_a_mistaken_and_an_unexpected_dead_letter_are_each_named() {
        let sent = [(1, poison("a")), (1, poison("b"))];
        let wrong = [
            "a on order_created left no dead letter",
            "the dead letter of b on order_created names unknown_order instead of invalid_event",
            "c on order_created became a dead letter: invalid_event",
        ];
        assert_eq!(compare(&sent, 1, found(&[("b", "unknown_order"), ("c", "invalid_event")])), wrong);
    }
}
