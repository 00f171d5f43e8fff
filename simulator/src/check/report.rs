//! What the audit found: a count per invariant with its first witnesses, and what is no violation.

use std::fmt::{Display, Formatter, Result};

use serde::Serialize;
use shared::contract::status::Status;

use super::invariants as check;
use super::snapshot::{Order, Snapshot};

const WITNESSES: usize = 10;

/// Why an invariant could not be checked.
const NO_ANSWERS: &str = "needs --answers";
const NOT_COMPLETE: &str =
    "needs answers that are complete: others place orders too, or their end is missing";
const NOT_FINAL: &str = "needs --final";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// In the middle: orders and events may be under way.
    Running,
    /// After the end: whatever is still under way never arrives.
    Final,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub clean: bool,
    pub orders: u64,
    pub confirmed: u64,
    pub cancelled: u64,
    /// Orders still created that are not set aside.
    pub not_settled: Listing,
    /// Orders still created whose event or answer is a dead letter.
    pub set_aside: Listing,
    /// Reservations for ids that order.db does not know.
    pub foreign: Listing,
    pub outbox_rows: u64,
    pub dead_letters: u64,
    /// POSTs whose outcome stayed unknown to their client.
    pub unknown_outcomes: u64,
    pub invariants: Vec<Finding>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Such as `I2 stock_equation`.
    pub name: &'static str,
    /// Why it could not be checked; `None` when it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_checked: Option<&'static str>,
    #[serde(flatten)]
    pub violations: Listing,
}

/// A count and the first witnesses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listing {
    pub count: u64,
    pub witnesses: Vec<String>,
}

impl FromIterator<String> for Listing {
    fn from_iter<I: IntoIterator<Item = String>>(texts: I) -> Self {
        let mut listing = Self::default();
        for text in texts {
            if listing.witnesses.len() < WITNESSES {
                listing.witnesses.push(text);
            }
            listing.count += 1;
        }
        listing
    }
}

/// Checks every invariant that the snapshot allows to check.
pub fn audit(snapshot: &Snapshot, moment: Moment) -> Report {
    let invariants = findings(snapshot, moment);
    let count =
        |status| snapshot.orders.iter().filter(|order| order.result.status == Some(status)).count() as u64;
    Report {
        clean: invariants.iter().all(|finding| finding.violations.count == 0),
        orders: snapshot.orders.len() as u64,
        confirmed: count(Status::Confirmed),
        cancelled: count(Status::Cancelled),
        not_settled: snapshot.pending().map(|order| snapshot.names.order_text(order.id)).collect(),
        set_aside: set_aside(snapshot),
        foreign: foreign(snapshot),
        outbox_rows: snapshot.outbox.len() as u64,
        dead_letters: snapshot.dead_letters,
        unknown_outcomes: snapshot.answered.as_ref().map_or(0, |answered| answered.unknown_outcomes()),
        invariants,
    }
}

fn findings(snapshot: &Snapshot, moment: Moment) -> Vec<Finding> {
    let answered = snapshot.answered.as_ref().ok_or(NO_ANSWERS);
    let complete = answered.and_then(|answered| answered.complete.then_some(answered).ok_or(NOT_COMPLETE));
    let ended = if moment == Moment::Final { Ok(()) } else { Err(NOT_FINAL) };
    vec![
        finding("I1 accepted_is_stored", answered.map(|told| check::accepted_is_stored(snapshot, told))),
        finding("I2 stock_equation", Ok(check::stock_equation(snapshot))),
        finding("I3 stock_not_negative", Ok(check::stock_not_negative(snapshot))),
        finding("I4 settled_in_the_end", ended.map(|()| check::settled_in_the_end(snapshot))),
        finding("I5 services_agree", Ok(check::services_agree(snapshot))),
        finding("I6 settled_once", Ok(check::settled_once(snapshot))),
        finding("I7 one_key_one_order", Ok(check::one_key_one_order(snapshot))),
        finding("I8 own_orders_only", Ok(check::own_orders_only(snapshot))),
        finding("I9 placed_by_a_client", complete.map(|told| check::placed_by_a_client(snapshot, told))),
        finding("I10 outboxes_empty", ended.map(|()| check::outboxes_empty(snapshot))),
    ]
}

fn finding(name: &'static str, checked: std::result::Result<Listing, &'static str>) -> Finding {
    Finding { name, not_checked: checked.as_ref().err().copied(), violations: checked.unwrap_or_default() }
}

fn set_aside(snapshot: &Snapshot) -> Listing {
    let pending =
        snapshot.set_aside.iter().filter(|(id, _)| snapshot.order(**id).is_some_and(Order::is_pending));
    pending.map(|(id, reason)| format!("{}: {reason}", snapshot.names.order_text(*id))).collect()
}

fn foreign(snapshot: &Snapshot) -> Listing {
    let ids = snapshot.reservations.iter().map(|reservation| reservation.order);
    let foreign = ids.filter(|id| snapshot.order(*id).is_none());
    foreign.map(|id| snapshot.names.order_text(id)).collect()
}

impl Report {
    pub fn violated(&self) -> impl Iterator<Item = &Finding> {
        self.invariants.iter().filter(|finding| finding.violations.count > 0)
    }

    pub fn violations(&self) -> u64 {
        self.invariants.iter().map(|finding| finding.violations.count).sum()
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self { orders, confirmed, cancelled, .. } = self;
        writeln!(f, "orders            {orders} ({confirmed} confirmed, {cancelled} cancelled)")?;
        writeln!(f, "not settled yet   {}", example(&self.not_settled))?;
        writeln!(f, "set aside         {}", example(&self.set_aside))?;
        writeln!(f, "foreign           {}", example(&self.foreign))?;
        writeln!(f, "outbox rows       {}", self.outbox_rows)?;
        writeln!(f, "dead letters      {}", self.dead_letters)?;
        writeln!(f, "unknown outcomes  {}", self.unknown_outcomes)?;
        writeln!(f, "\n{:<24} violations", "invariant")?;
        for finding in &self.invariants {
            match finding.not_checked {
                Some(why) => writeln!(f, "{:<24} not checked: {why}", finding.name)?,
                None => writeln!(f, "{:<24} {}", finding.name, finding.violations.count)?,
            }
        }
        for finding in self.violated() {
            writeln!(f)?;
            for witness in &finding.violations.witnesses {
                writeln!(f, "{}: {witness}", finding.name)?;
            }
        }
        Ok(())
    }
}

fn example(Listing { count, witnesses }: &Listing) -> String {
    witnesses.first().map_or(count.to_string(), |first| format!("{count}, such as {first}"))
}
