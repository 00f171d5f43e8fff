//! A run: load, faults one after the other, and for each of them how long everything took to recover.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fastrand::Rng;
use processes::poll;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

use super::arguments::Plan;
use super::fault::Kind;
use super::messages;
use super::messages::Poison;
use super::report::Report;
use super::schedule::Planned;
use super::site::Site;
use super::timeline::Entry;
use super::traffic::{Endpoints, Traffic};
use super::{attack, surroundings};
use crate::load::SharedTally;
use crate::metrics::Metrics;

/// How long a kill waits for enough pending orders; then it comes anyway, and does not count.
const PENDING_WITHIN: Duration = Duration::from_secs(5);

const LOOK_EVERY: Duration = Duration::from_millis(1);

/// A burst has so many times the orders that must be pending: some are settled before the last is accepted.
const BURST: usize = 3;

const RECOVERY_EVERY: Duration = Duration::from_millis(10);

/// So long after the end of all faults every one is recovered from. Not after the fault itself: others may have come before it was.
const RECOVERY_WITHIN: Duration = Duration::from_secs(90);

/// Nobody's order may wait longer than this for the fault of somebody else's message.
const MESSAGES_WITHIN: Duration = Duration::from_secs(5);

/// I4: every order is settled so soon after the last fault.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

/// Poison messages, each with the number of wipes of the broker that had come before it.
pub type SentPoison = Vec<(usize, Poison)>;

pub struct Injector<'a> {
    plan: &'a Plan,
    site: &'a mut Site,
    traffic: Traffic,
    rng: Rng,
    started: Instant,
    recoveries: JoinSet<Entry>,
    tell: fn(&Entry),
    report: Report,
    poison: SentPoison,
    wipes: usize,
}

impl<'a> Injector<'a> {
    /// An injector that calls `tell` for each fault once it is recovered from.
    pub fn new(plan: &'a Plan, site: &'a mut Site, traffic: Traffic, tell: fn(&Entry)) -> Self {
        // Another sequence than the schedule's, from the same seed.
        let rng = Rng::with_seed(plan.seed.rotate_left(32) ^ 1);
        let report = Report { seed: plan.seed, duration: plan.duration, ..Report::default() };
        let (started, recoveries, poison) = (Instant::now(), JoinSet::new(), Vec::new());
        Self { plan, site, traffic, rng, started, recoveries, tell, report, poison, wipes: 0 }
    }

    /// Injects the whole schedule under load, ends the load, and waits until everything has recovered.
    pub async fn run(mut self) -> Result<(Report, SentPoison)> {
        self.inject_all().await;
        self.traffic.end_load().await?;
        let recovered = wait_for_the_end(&self.traffic).await;
        self.wait_for_recoveries().await;
        let mut report = self.report;
        report.totals = self.traffic.finish()?;
        report.timeline.entries.sort_by_key(|entry| entry.at);
        report.counts = report.timeline.counts(self.plan.min_pending);
        if let Some(preset) = self.plan.minimums {
            report.shortfalls = preset.shortfalls(report.duration, &report.counts, report.totals.accepted);
        }
        report.recovery = recovered.as_ref().ok().copied();
        report.violations.extend(recovered.err());
        Ok((report, self.poison))
    }

    /// Ends with the run's duration, or when a fault cannot be mended.
    async fn inject_all(&mut self) {
        for planned in &self.plan.schedule {
            if let Err(error) = self.inject(planned).await {
                self.report.violations.insert(0, format!("{}: {error:#}", planned.fault));
                return;
            }
            while let Some(Ok(entry)) = self.recoveries.try_join_next() {
                self.note(entry);
            }
        }
        sleep_until((self.started + self.plan.duration).into()).await;
    }

    async fn inject(&mut self, planned: &Planned) -> Result<()> {
        let fault = planned.fault.clone();
        let is_messages = fault.kind.is_messages();
        sleep_until((self.started + planned.at).into()).await;
        if fault.kind == Kind::Clock && surroundings::faketime().is_none() {
            self.report.skipped.push("clock: libfaketime is not installed".to_owned());
            return Ok(());
        }
        if matches!(fault.kind, Kind::Kill | Kind::Wipe) {
            self.wait_for_pending().await;
        }
        if is_messages {
            self.wait_for_recoveries().await;
        }
        let (begun, pending) = (Instant::now(), self.traffic.tally().pending());
        self.site.begin(&fault).await?;
        let messages = self.send_messages(fault.kind).await?;
        sleep(fault.lasts).await;
        self.site.end(&fault).await?;
        self.wipes += usize::from(fault.kind == Kind::Wipe);
        let (at, lasted) = (begun - self.started, begun.elapsed());
        let entry = Entry { at, fault, pending, lasted, recovery: None, messages };
        let within = if is_messages { MESSAGES_WITHIN } else { self.plan.ends_within() + RECOVERY_WITHIN };
        self.recoveries.spawn(recover(entry, self.traffic.tally().clone(), within));
        if is_messages {
            // So that what is measured is this fault's doing alone.
            self.wait_for_recoveries().await;
        }
        Ok(())
    }

    /// After this, whatever is slow is so because of the next fault.
    async fn wait_for_recoveries(&mut self) {
        // A task that only watches neither panics nor is aborted.
        while let Some(Ok(entry)) = self.recoveries.join_next().await {
            self.note(entry);
        }
    }

    fn note(&mut self, entry: Entry) {
        (self.tell)(&entry);
        self.report.violations.extend(entry.not_recovered());
        self.report.timeline.entries.push(entry);
    }

    /// Sends bursts on top of the steady load until enough orders are pending, so that a kill hits something.
    async fn wait_for_pending(&mut self) {
        let start = Instant::now();
        while self.traffic.tally().pending() < self.plan.min_pending && start.elapsed() < PENDING_WITHIN {
            if !self.traffic.is_bursting() {
                self.traffic.burst(self.plan.min_pending * BURST);
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn send_messages(&mut self, kind: Kind) -> Result<Option<usize>> {
        let nats = &self.traffic.endpoints.nats;
        let sent = match kind {
            Kind::Duplicate => return messages::duplicate(nats, &mut self.rng).await.map(Some),
            Kind::Attack => return attack::attack(nats).await.map(Some),
            Kind::Malformed => messages::malformed(nats, &mut self.rng).await?,
            Kind::Poison => {
                let real = self.traffic.settled_order().await;
                messages::poison(nats, real.as_ref(), &mut self.rng).await?
            }
            _ => return Ok(None),
        };
        let count = sent.len();
        self.poison.extend(sent.into_iter().map(|poison| (self.wipes, poison)));
        Ok(Some(count))
    }
}

/// Waits, for so long at most, until every order is settled that was pending when the fault was mended.
async fn recover(mut entry: Entry, tally: SharedTally, within: Duration) -> Entry {
    let mended = Instant::now();
    let mut waiting = tally.open();
    while mended.elapsed() < within {
        tally.keep_open(&mut waiting);
        if waiting.is_empty() {
            entry.recovery = Some(mended.elapsed());
            break;
        }
        sleep(RECOVERY_EVERY).await;
    }
    entry
}

/// Waits until nothing is under way. Returns how long that took, or tells what was left.
async fn wait_for_the_end(traffic: &Traffic) -> Result<Duration, String> {
    let start = Instant::now();
    let mut last = None;
    let ended = poll(SETTLED_WITHIN, Duration::from_millis(100), async || {
        last = remaining(traffic).await.ok();
        (last == Some((0, 0, 0))).then(|| start.elapsed())
    });
    let ended = ended.await;
    // A service that cannot be asked leaves everything open.
    let (open, pending, outbox) = last.unwrap_or((traffic.tally().pending(), u64::MAX, u64::MAX));
    ended.ok_or_else(|| {
        format!(
            "{} s after the last fault {open} accepted orders were not seen settled, {pending} orders are \
             pending, {outbox} events wait in outboxes",
            SETTLED_WITHIN.as_secs()
        )
    })
}

/// Accepted orders not seen settled, orders that the order service has not settled, and events of both
/// services that the broker has not acknowledged.
async fn remaining(traffic: &Traffic) -> Result<(usize, u64, u64)> {
    let Endpoints { order, inventory, .. } = &traffic.endpoints;
    let (order, inventory) = (Metrics::of(order).await?, Metrics::of(inventory).await?);
    let gauge = |metrics: &Metrics, name: &str| {
        metrics.gauge(name).with_context(|| format!("there is no metric {name}"))
    };
    let outbox = gauge(&order, "outbox_rows")? + gauge(&inventory, "outbox_rows")?;
    Ok((traffic.tally().pending(), gauge(&order, "orders_pending")?, outbox))
}
