//! Both databases and the answers as the audit sees them, in compact form.

use std::collections::BTreeMap;

use shared::contract::status::Status;

use super::answered::Answered;
use super::names::{Name, Names, OrderId};

/// What was read. Lists are sorted by id.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub names: Names,
    pub orders: Vec<Order>,
    pub keys: Vec<Key>,
    pub reservations: Vec<Reservation>,
    /// The rows of `products`, and the sum of each product's adjustments.
    pub shelves: BTreeMap<Name, Shelf>,
    pub outbox: Vec<OutboxEvent>,
    /// Orders whose event or answer is an open dead letter, with its reason.
    pub set_aside: BTreeMap<OrderId, String>,
    /// All open dead letters of both databases.
    pub dead_letters: u64,
    /// What clients know; `None` without a file.
    pub answered: Option<Answered>,
}

#[derive(Debug, Clone, Copy)]
pub struct Order {
    pub id: OrderId,
    pub user: Name,
    pub product: Name,
    pub quantity: i64,
    pub result: RowResult,
    /// By the order service's clock, in Unix milliseconds.
    pub created_at: i64,
    pub settled_at: bool,
}

/// The status and reason columns of an order or a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowResult {
    /// `None`: a word that is no status.
    pub status: Option<Status>,
    pub reason: Option<Name>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub user: Name,
    pub key: u128,
    pub order: OrderId,
    pub created_at: i64,
}

#[derive(Debug, Clone, Copy)]
pub struct Reservation {
    pub order: OrderId,
    pub product: Name,
    pub quantity: i64,
    pub result: RowResult,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Shelf {
    /// `None`: there are adjustments of a product that is not in `products`.
    pub stock: Option<i64>,
    pub adjusted: i64,
}

#[derive(Debug, Clone, Copy)]
pub struct OutboxEvent {
    /// Whose: `order.db` or `inventory.db`.
    pub database: &'static str,
    pub batch: i64,
    pub order: OrderId,
}

impl Snapshot {
    pub fn order(&self, id: OrderId) -> Option<&Order> {
        let at = self.orders.binary_search_by_key(&id, |order| order.id).ok()?;
        self.orders.get(at)
    }

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
    pub fn is_pending(&self) -> bool {
        self.result.status == Some(Status::Created)
    }
}
