//! Both databases and the answers as the audit sees them, in compact form.

use std::collections::BTreeMap;

use super::answered::Answered;
use super::names::{Name, Names, OrderId};
use crate::answers::Status;

/// What was read. Lists are sorted by id.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The texts behind the numbers.
    pub names: Names,
    /// The rows of `orders`.
    pub orders: Vec<Order>,
    /// The rows of `idempotency_keys`.
    pub keys: Vec<Key>,
    /// The rows of `reservations`.
    pub reservations: Vec<Reservation>,
    /// The rows of `products`, and the sum of each product's adjustments.
    pub shelves: BTreeMap<Name, Shelf>,
    /// The rows of both outboxes.
    pub outbox: Vec<OutboxRow>,
    /// Orders whose event or answer is an open dead letter, with its reason.
    pub set_aside: BTreeMap<OrderId, String>,
    /// All open dead letters of both databases.
    pub dead_letters: u64,
    /// What clients know; `None` without a file.
    pub answered: Option<Answered>,
}

/// A row of `orders`.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    /// Its id.
    pub id: OrderId,
    /// Its owner.
    pub user: Name,
    /// What.
    pub product: Name,
    /// How many.
    pub quantity: i64,
    /// Status and reason.
    pub result: RowResult,
    /// Whether `settled_at` is set.
    pub settled_at: bool,
}

/// The status and reason columns of an order or a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowResult {
    /// `None`: a word that is no status.
    pub status: Option<Status>,
    /// The column `reason`; `None` for NULL.
    pub reason: Option<Name>,
}

/// A row of `idempotency_keys`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Whose.
    pub user: Name,
    /// The key's fingerprint.
    pub key: u128,
    /// The order that it made.
    pub order: OrderId,
    /// When, in Unix milliseconds.
    pub created_at: i64,
}

/// A row of `reservations`.
#[derive(Debug, Clone, Copy)]
pub struct Reservation {
    /// The order that was decided.
    pub order: OrderId,
    /// What.
    pub product: Name,
    /// How many.
    pub quantity: i64,
    /// Status and reason.
    pub result: RowResult,
}

/// One product of the inventory.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shelf {
    /// `None`: there are adjustments of a product that is not in `products`.
    pub stock: Option<i64>,
    /// The sum of its adjustments.
    pub adjusted: i64,
}

/// A row of an outbox.
#[derive(Debug, Clone, Copy)]
pub struct OutboxRow {
    /// Whose: `order.db` or `inventory.db`.
    pub database: &'static str,
    /// The row's id.
    pub id: i64,
    /// The order that its event is about.
    pub order: OrderId,
}

impl Snapshot {
    /// The order with this id.
    pub fn order(&self, id: OrderId) -> Option<&Order> {
        let at = self.orders.binary_search_by_key(&id, |order| order.id).ok()?;
        self.orders.get(at)
    }

    /// What the inventory decided about an order.
    pub fn reservation(&self, order: OrderId) -> Option<&Reservation> {
        let at = self.reservations.binary_search_by_key(&order, |reservation| reservation.order).ok()?;
        self.reservations.get(at)
    }

    /// Orders that are not settled, without those set aside.
    pub fn pending(&self) -> impl Iterator<Item = &Order> {
        let pending = |order: &&Order| order.is_pending() && !self.set_aside.contains_key(&order.id);
        self.orders.iter().filter(pending)
    }
}

impl Order {
    /// Whether it waits for the inventory's answer.
    pub fn is_pending(&self) -> bool {
        self.result.status == Some(Status::Created)
    }
}
