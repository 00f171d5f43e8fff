//! A run: load, faults one after the other, and for each of them how long everything took to recover.

use std::time::{Duration, Instant};

use anyhow::Result;
use fastrand::Rng;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

use super::arguments::Plan;
use super::fault::Kind;
use super::messages;
use super::messages::Poison;
use super::schedule::Planned;
use super::site::Site;
use super::timeline::{Entry, Timeline};
use super::traffic::Traffic;
use super::{attack, surroundings};
use crate::load::{SharedTally, Totals};

/// How long a kill waits for enough pending orders; then it comes anyway, and does not count.
const PENDING_WITHIN: Duration = Duration::from_secs(5);

const LOOK_EVERY: Duration = Duration::from_millis(1);

/// A burst has so many times the orders that must be pending: some are settled before the last is accepted.
const BURST: usize = 3;

const RECOVERY_EVERY: Duration = Duration::from_millis(10);

/// A fault from which nothing has recovered after this time counts as one that nothing recovers from.
const RECOVERY_WITHIN: Duration = Duration::from_secs(90);

/// Nobody's order may wait longer than this for the fault of somebody else's message.
const MESSAGES_WITHIN: Duration = Duration::from_secs(5);

/// What a run did to a site.
#[derive(Debug, Default)]
pub struct Injected {
    pub timeline: Timeline,
    /// Every poison message, and how many wipes of the broker had come before it.
    pub poison: Vec<(usize, Poison)>,
    /// What went wrong with a fault itself, such as a service that did not come back.
    pub broken: Option<String>,
    /// Faults after which orders waited that had nothing to do with them.
    pub waited: Vec<String>,
    /// Faults that this machine cannot have, and why.
    pub skipped: Vec<String>,
}

pub struct Injector<'a> {
    plan: &'a Plan,
    site: &'a mut Site,
    pub traffic: Traffic,
    rng: Rng,
    started: Instant,
    recoveries: JoinSet<Entry>,
    print: fn(&Entry),
    injected: Injected,
    wipes: usize,
}

impl<'a> Injector<'a> {
    /// An injector that calls `print` for each fault once it is recovered from.
    pub fn new(plan: &'a Plan, site: &'a mut Site, traffic: Traffic, print: fn(&Entry)) -> Self {
        // Another sequence than the schedule's, from the same seed.
        let rng = Rng::with_seed(plan.seed.rotate_left(32) ^ 1);
        let (started, recoveries, injected) = (Instant::now(), JoinSet::new(), Injected::default());
        Self { plan, site, traffic, rng, started, recoveries, print, injected, wipes: 0 }
    }

    /// Injects the whole schedule; ends with the run's duration, or when a fault cannot be mended.
    pub async fn run(&mut self) {
        for planned in &self.plan.schedule {
            if let Err(error) = self.inject(planned).await {
                self.injected.broken = Some(format!("{}: {error:#}", planned.fault));
                return;
            }
            while let Some(entry) = self.recoveries.try_join_next() {
                self.note(entry.ok());
            }
        }
        sleep_until((self.started + self.plan.duration).into()).await;
    }

    /// What was done, once every fault is recovered from or given up, and what clients were told.
    pub async fn finish(mut self) -> Result<(Injected, Totals)> {
        self.wait_for_recoveries().await;
        self.injected.timeline.entries.sort_by_key(|entry| entry.at);
        Ok((self.injected, self.traffic.finish()?))
    }

    fn note(&mut self, entry: Option<Entry>) {
        // A task that only watches neither panics nor is aborted.
        let Some(entry) = entry else { return };
        (self.print)(&entry);
        self.injected.timeline.entries.push(entry);
    }

    async fn inject(&mut self, planned: &Planned) -> Result<()> {
        let fault = planned.fault.clone();
        sleep_until((self.started + planned.at).into()).await;
        if fault.kind == Kind::Clock && !surroundings::clocks_can_move() {
            self.injected.skipped.push("clock: libfaketime is not installed".to_owned());
            return Ok(());
        }
        if matches!(fault.kind, Kind::Kill | Kind::Wipe) {
            self.wait_for_pending().await;
        }
        if fault.kind.is_messages() {
            self.wait_for_recoveries().await;
        }
        let (begun, pending) = (Instant::now(), self.traffic.tally().pending());
        self.site.begin(&fault).await?;
        let messages = self.send_messages(fault.kind).await?;
        sleep(fault.lasts).await;
        self.site.end(&fault).await?;
        if fault.kind == Kind::Wipe {
            self.wipes += 1;
        }
        let (at, lasted) = (begun - self.started, begun.elapsed());
        let entry = Entry { at, fault, pending, lasted, recovery: None, messages };
        if entry.fault.kind.is_messages() {
            self.recover_now(entry).await;
        } else {
            self.recoveries.spawn(recover(entry, self.traffic.tally().clone(), RECOVERY_WITHIN));
        }
        Ok(())
    }

    /// After this, whatever is slow is so because of the next fault.
    async fn wait_for_recoveries(&mut self) {
        while let Some(entry) = self.recoveries.join_next().await {
            self.note(entry.ok());
        }
    }

    /// Waits with the next fault, so that what is measured is this one's doing alone.
    async fn recover_now(&mut self, entry: Entry) {
        let entry = recover(entry, self.traffic.tally().clone(), MESSAGES_WITHIN).await;
        if entry.recovery.is_none() {
            let (kind, at) = (entry.fault.kind.word(), entry.at.as_secs_f64());
            let limit = MESSAGES_WITHIN.as_secs();
            self.injected
                .waited
                .push(format!("{kind} at {at:.1} s: orders of others waited more than {limit} s for it"));
        }
        self.note(Some(entry));
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
        self.injected.poison.extend(sent.into_iter().map(|poison| (self.wipes, poison)));
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
