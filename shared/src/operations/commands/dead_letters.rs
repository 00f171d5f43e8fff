//! The `dead-letters` command: calls the admin routes of the running service and prints for people, or JSON.

use std::io::{Write, stdout};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use crate::http::paging::LIMIT_MAX;
use crate::operations::admin_client::AdminClient;
use crate::operations::routes::dead_letters::PATH;

/// Dead letters redriven in one request, so that it ends well within the client's patience.
const REDRIVE_STEP: i64 = 50;

#[derive(Debug, Clone, Args)]
pub struct DeadLettersCommand {
    #[command(subcommand)]
    action: Action,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Clone, Subcommand)]
enum Action {
    /// One line for each, oldest first
    List,
    /// Everything about one, with its headers and its whole body
    Show {
        /// The dead letter's number
        id: i64,
    },
    /// Handle one or all once more, as if delivered now; exit 1 if any stays
    Redrive {
        #[command(flatten)]
        which: Which,
        /// Do it, report, and roll everything back
        #[arg(long)]
        dry_run: bool,
    },
    /// Delete one without handling it
    Discard {
        /// The dead letter's number
        id: i64,
    },
}

#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// The dead letter's number
    id: Option<i64>,
    /// All of them, one after the other
    #[arg(long)]
    all: bool,
}

impl DeadLettersCommand {
    /// Asks the running service. Fails when a redrive leaves something dead.
    pub async fn run(&self, client: &AdminClient) -> Result<()> {
        match &self.action {
            Action::List => self.list(client).await,
            Action::Show { id } => {
                let letter = client.call(Method::GET, &format!("{PATH}/{id}")).await?;
                self.print(&letter, &page(&letter))
            }
            Action::Redrive { which: Which { id: Some(id), .. }, dry_run } => {
                self.redrive_one(client, *id, *dry_run).await
            }
            Action::Redrive { dry_run, .. } => self.redrive_all(client, *dry_run).await,
            Action::Discard { id } => {
                client.call(Method::DELETE, &format!("{PATH}/{id}")).await?;
                self.print(&json!({"id": id, "outcome": "discarded"}), &format!("{id}  discarded\n"))
            }
        }
    }

    async fn list(&self, client: &AdminClient) -> Result<()> {
        let (mut after, mut all) = (0, Vec::new());
        loop {
            let page = client.call(Method::GET, &format!("{PATH}?after={after}&limit={LIMIT_MAX}")).await?;
            let page = page.as_array().cloned().unwrap_or_default();
            let Some(last) = page.last() else { break };
            after = last["id"].as_i64().unwrap_or(i64::MAX);
            all.extend(page);
        }
        let text: String = all.iter().map(|letter| line(letter) + "\n").collect();
        self.print(&Value::Array(all), &text)
    }

    async fn redrive_one(&self, client: &AdminClient, id: i64, dry_run: bool) -> Result<()> {
        let path = format!("{PATH}/{id}/redrive?dryRun={dry_run}");
        let report = client.call(Method::POST, &path).await?;
        self.print(&report, &(outcome(&report) + "\n"))?;
        match report["outcome"].as_str() {
            Some("done") => Ok(()),
            _ => bail!("dead letter {id} {}", stays(dry_run)),
        }
    }

    async fn redrive_all(&self, client: &AdminClient, dry_run: bool) -> Result<()> {
        let (mut after, mut done, mut stay) = (Some(0), 0, Vec::new());
        let mut failure = None;
        while let Some(from) = after {
            let path = format!("{PATH}/redrive?dryRun={dry_run}&limit={REDRIVE_STEP}&after={from}");
            match client.call(Method::POST, &path).await {
                Ok(report) => {
                    done += report["done"].as_i64().unwrap_or_default();
                    stay.extend(report["stay"].as_array().cloned().unwrap_or_default());
                    after = report["next"].as_i64();
                }
                // What was done before is told all the same.
                Err(error) => (after, failure) = (None, Some(error)),
            }
        }
        let lines: String = stay.iter().map(|report| outcome(report) + "\n").collect();
        let text = format!("{lines}{done} {}\n", if dry_run { "would be done" } else { "done" });
        self.print(&json!({"done": done, "stay": stay}), &text)?;
        if let Some(failure) = failure {
            return Err(failure.context("not all dead letters were looked at"));
        }
        if !stay.is_empty() {
            bail!("{} of {} dead letters {}", stay.len(), stay.len() as i64 + done, stays(dry_run));
        }
        Ok(())
    }

    fn print(&self, json: &Value, text: &str) -> Result<()> {
        let json = self.json.then(|| format!("{json}\n"));
        let printed = json.as_deref().unwrap_or(text);
        stdout().write_all(printed.as_bytes()).context("write to standard output")
    }
}

fn stays(dry_run: bool) -> &'static str {
    if dry_run { "would stay" } else { "stay" }
}

/// A dead letter on one line.
fn line(letter: &Value) -> String {
    let text = |name: &str| printable(letter[name].as_str().unwrap_or_default());
    format!(
        "{}  {}  {}  attempts {}  last {}  {}",
        letter["id"],
        text("subject"),
        text("reason"),
        letter["attempts"],
        text("lastSeenAt"),
        text("detail"),
    )
}

/// What became of one redriven dead letter, on one line.
fn outcome(report: &Value) -> String {
    let words = ["outcome", "effect", "reason", "detail"].map(|name| report[name].as_str().map(printable));
    format!("{}  {}", report["id"], words.into_iter().flatten().collect::<Vec<_>>().join("  "))
}

/// A dead letter on several lines, its body last.
fn page(letter: &Value) -> String {
    let mut page = String::new();
    for name in ["id", "subject", "reason", "detail", "attempts", "firstSeenAt", "lastSeenAt", "bodyBytes"] {
        let value = &letter[name];
        let value = value.as_str().map_or_else(|| value.to_string(), printable);
        page += &format!("{name:<12} {value}\n");
    }
    for (name, values) in letter["headers"].as_object().into_iter().flatten() {
        for value in values.as_array().into_iter().flatten() {
            let value = printable(value.as_str().unwrap_or_default());
            page += &format!("header       {}: {value}\n", printable(name));
        }
    }
    match (letter["body"].as_str(), letter["bodyBase64"].as_str()) {
        (Some(text), _) => {
            text.split('\n').map(printable).fold(page, |page, line| page + "\n" + &line) + "\n"
        }
        (None, Some(base64)) => page + "\nnot UTF-8; in base64:\n" + base64 + "\n",
        (None, None) => page,
    }
}

/// The text with its control characters escaped: a message may come from anybody.
fn printable(text: &str) -> String {
    let escaped = |char: char| match char.is_control() {
        true => char.escape_default().to_string(),
        false => char.to_string(),
    };
    text.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_cannot_steer_the_terminal_of_whoever_reads_it() {
        let letter = json!({"id": 3, "subject": "order_created", "reason": "invalid_event", "attempts": 1,
            "lastSeenAt": "2026-11-24T12:00:00.000Z", "detail": "a\u{1b}[2J\nb", "body": "x\u{1b}c\ny"});
        let found = line(&letter);
        assert_eq!(found.lines().count(), 1, "{found}");
        assert!(found.starts_with("3  order_created  invalid_event  attempts 1  last 2026"), "{found}");
        let found = page(&letter);
        assert!(!found.contains('\u{1b}') && found.ends_with("\n\nx\\u{1b}c\ny\n"), "{found}");
    }
}
