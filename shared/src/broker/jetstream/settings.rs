//! The one stream and the one consumer that a service needs at the broker, as they must be.
//!
//! Created if missing, updated if different, never deleted.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use async_nats::jetstream::consumer::{AckPolicy, FromConsumer, PullConsumer, pull};
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::ConsumerErrorKind;
use async_nats::jetstream::{Context, ErrorCode, stream};

use crate::contract::subjects::{ORDER_CREATED, ORDER_PROCESSED, STREAM};

/// Older servers drop settings of ours without a word, or lack the consumer reset.
const OLDEST_SERVER: (u64, u64) = (2, 14);
/// How long the stream keeps messages; every pending order is swept long before.
pub const MAX_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Within this window the broker drops a second message with the same `Nats-Msg-Id`.
pub const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
/// A message that was delivered and not acknowledged comes again after this time.
pub const ACK_WAIT: Duration = Duration::from_secs(10);
/// Messages delivered and not acknowledged, at most: far less than half of [`ACK_WAIT`] can process.
const MAX_ACK_PENDING: i64 = 4_000;

/// Creates the stream if it is missing and updates it if its settings differ.
pub(super) async fn provision_stream(context: &Context, max_bytes: i64) -> Result<stream::Info> {
    let existing = match context.get_stream(STREAM).await {
        Ok(stream) => stream.cached_info().clone(),
        Err(error) if is_missing(&error.kind()) => {
            let wanted = stream_settings(stream::Config::default(), max_bytes);
            let created = context.create_stream(wanted).await.context("create the stream ORDERS")?;
            tracing::info!(stream = STREAM, "stream created");
            created.cached_info().clone()
        }
        Err(error) => return Err(error).context("look up the stream ORDERS"),
    };
    let wanted = stream_settings(existing.config.clone(), max_bytes);
    if wanted == existing.config {
        return Ok(existing);
    }
    tracing::info!(stream = STREAM, "stream settings differ; updating them");
    context.update_stream(wanted).await.context("update the stream ORDERS")
}

/// Our settings laid over `base`: what an operator set beside them stays, unless it would stop the flow.
fn stream_settings(base: stream::Config, max_bytes: i64) -> stream::Config {
    stream::Config {
        name: STREAM.to_owned(),
        subjects: vec![ORDER_CREATED.to_owned(), ORDER_PROCESSED.to_owned()],
        storage: stream::StorageType::File,
        retention: stream::RetentionPolicy::Limits,
        // With `new`, a stream full of handled messages would refuse every publish. An event that is
        // discarded before its delivery is one more loss that the sweeper heals.
        discard: stream::DiscardPolicy::Old,
        max_age: MAX_AGE,
        max_bytes,
        duplicate_window: DUPLICATE_WINDOW,
        allow_direct: true,
        // With these an event would get no PubAck, become another one, or not be stored.
        no_ack: false,
        subject_transform: None,
        republish: None,
        max_messages: -1,
        max_messages_per_subject: -1,
        max_message_size: -1,
        discard_new_per_subject: false,
        ..base
    }
}

/// The durable consumer `name` as it is; `None` when there is none.
pub(super) async fn find_consumer(context: &Context, name: &str) -> Result<Option<PullConsumer>> {
    match context.get_consumer_from_stream(name, STREAM).await {
        Ok(consumer) => Ok(Some(consumer)),
        Err(error) if is_absent(&error.kind()) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("look up the consumer {name}")),
    }
}

/// Creates the durable pull consumer `name` on `subject`; one that has just been created is left alone.
pub(super) async fn create_consumer(
    context: &Context,
    name: &str,
    subject: &str,
    metadata: HashMap<String, String>,
) -> Result<PullConsumer> {
    let base = pull::Config { durable_name: Some(name.to_owned()), metadata, ..Default::default() };
    let created = context.create_consumer_strict_on_stream(consumer_settings(base, subject), STREAM).await;
    let created = created.with_context(|| format!("create the consumer {name}"))?;
    tracing::info!(consumer = name, subject, "consumer created");
    Ok(created)
}

/// Updates the consumer if its settings differ, or if its metadata lack `metadata`.
pub(super) async fn update_consumer(
    context: &Context,
    consumer: &PullConsumer,
    subject: &str,
    metadata: HashMap<String, String>,
) -> Result<()> {
    let info = consumer.cached_info();
    let existing = pull::Config::try_from_consumer_config(info.config.clone())
        .map_err(|error| anyhow!(error).context("read the consumer's settings"))?;
    let mut wanted = consumer_settings(existing.clone(), subject);
    if wanted != existing {
        tracing::info!(consumer = info.name, "consumer settings differ; updating them");
    }
    wanted.metadata.extend(metadata);
    if wanted != existing {
        let updated = context.update_consumer_on_stream(wanted, STREAM).await;
        updated.with_context(|| format!("update the consumer {}", info.name))?;
    }
    Ok(())
}

/// Our settings laid over `base`: what an operator set beside them stays, unless it would stop the flow.
fn consumer_settings(base: pull::Config, subject: &str) -> pull::Config {
    pull::Config {
        // A durable consumer without a filter would receive both subjects.
        filter_subject: subject.to_owned(),
        // With `All`, the ack of a newer message covers older ones that a dead process still held.
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        max_ack_pending: MAX_ACK_PENDING,
        // Dead letters are ours, in the database: the server's advisory can be lost.
        max_deliver: -1,
        // With these a pull would be refused, events would come without their bodies, or redeliveries late.
        headers_only: false,
        filter_subjects: Vec::new(),
        max_batch: 0,
        max_bytes: 0,
        max_expires: Duration::ZERO,
        rate_limit: 0,
        backoff: Vec::new(),
        ..base
    }
}

fn is_absent(error: &ConsumerErrorKind) -> bool {
    matches!(error, ConsumerErrorKind::JetStream(e) if e.error_code() == ErrorCode::CONSUMER_NOT_FOUND)
}

fn is_missing(error: &GetStreamErrorKind) -> bool {
    matches!(error, GetStreamErrorKind::JetStream(e) if e.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

/// Refuses a server that is too old. An empty version is that of a server that has not introduced itself yet.
pub(super) fn require_version(version: &str) -> Result<()> {
    let mut numbers = version.split('.').map(|part| part.parse().unwrap_or(0));
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let (major, minor) = OLDEST_SERVER;
    ensure!(
        version.is_empty() || found >= OLDEST_SERVER,
        "nats-server {version} is too old: {major}.{minor} or newer is needed"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_server_is_refused_with_both_versions_in_the_message() {
        for version in ["", "2.14.5", "2.15.0-RC.1", "3.0.0"] {
            assert!(require_version(version).is_ok(), "{version}");
        }
        let error = require_version("2.9.25").unwrap_err().to_string();
        assert!(error.contains("2.9.25") && error.contains("2.14"), "{error}");
    }
}
