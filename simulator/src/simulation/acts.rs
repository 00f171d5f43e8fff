//! What happens when an act has its turn.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use inventory_service::stock::adjustment::AdjustmentKind;
use shared::broker::adoption::{Adoption, Healing, adopt};
use shared::broker::stream::Outgoing;
use shared::delivery::dead_letter::redrive::{Mode, Redriven};
use shared::delivery::dead_letter::store;
use shared::delivery::handler::Never;
use shared::delivery::message::Delivery;
use sqlx::AssertSqlSafe;

use super::crash;
use super::schedule::Act;
use super::timeline::Side;
use super::world::World;

/// As many pages as SQLite lets a database have.
pub(super) const UNLIMITED: u32 = u32::MAX - 1;

impl World {
    /// Whatever the act says, if it applies.
    pub async fn act(&mut self, act: Act) -> Result<()> {
        match act {
            Act::Step(pick) => self.step(pick).await,
            Act::Wait => self.wait_a_little(),
            Act::Pass(seconds) => self.pass(Duration::from_secs(seconds.into())).await,
            Act::Place { user, product, quantity } => {
                let request = self.clients.ask(user, product, quantity);
                self.place(request);
            }
            Act::Repeat(pick) => {
                if let Some(request) = self.clients.pick(pick) {
                    self.place(request);
                }
            }
            Act::Look => self.look(),
            Act::Restock { product, quantity } => {
                self.adjust(product, AdjustmentKind::Restock(quantity.into()))
            }
            Act::Count { product, stock } => self.adjust(product, AdjustmentKind::Correction(stock.into())),
            Act::Redrive(pick) => self.dead_letter(pick, true).await,
            Act::Discard(pick) => self.dead_letter(pick, false).await,
            Act::SetAside(side) => self.set_aside(side).await,
            Act::Adopt(side) => self.adopt(side),
            Act::Crash(side) => self.die(side, "is killed").await,
            Act::CrashAt(point) => crash::arm(point),
            Act::NightOff(hours) => self.night_off(Duration::from_secs(3600 * u64::from(hours))).await,
            Act::Stop(side) => self.stop(side),
            Act::Start(side) => self.start(side).await,
            Act::Jump(side, seconds) => {
                self.tell(side.name(), || format!("its clock is ahead by {seconds} s"));
                self.memory.borrow_mut().has_jumped = true;
                self.node(side).offset_ms = i64::from(seconds) * 1000;
            }
            Act::Fill(side) => {
                self.memory.borrow_mut().was_full = true;
                self.limit(side, 1).await;
            }
            Act::Free(side) => self.limit(side, UNLIMITED).await,
            Act::Backup => self.backup().await?,
            Act::RestoreBackup => self.restore_backup().await?,
            Act::Fault(fault) => self.model.arm(fault),
            Act::Disconnect(side) => self.model.reconnect(side),
            Act::BrokerStops => self.model.stop(),
            Act::BrokerStarts if !self.model.is_up() => self.model.start(),
            Act::BrokerStarts => {}
            Act::Again(pick) => self.model.publish_again(pick.into()),
            Act::Poison(side, kind) => self.poison(side, kind),
            Act::DeleteConsumer(side) => self.model.delete_consumer(side),
            Act::CopyBroker => self.model.copy(),
            Act::RestoreBroker => {
                let acked = self.acked().await;
                self.model.restore(acked);
            }
            Act::Wipe => self.model.wipe(),
            Act::Truncate(count) => {
                let acked = self.acked().await;
                self.model.truncate(count.into(), acked);
            }
            Act::DiscardOldest(count) => self.model.discard(count.into()),
        }
        Ok(())
    }

    fn place(&mut self, request: usize) {
        let running = self.node(Side::Order).running.as_ref();
        if let Some(queue) = running.and_then(|running| running.orders.clone()) {
            let work = self.clients.clone().place(request, queue, self.timeline.clone());
            self.spawn("request", Side::Order, work);
        }
    }

    fn look(&mut self) {
        if let Some(database) = self.database(Side::Order) {
            let work = self.clients.clone().look_at_orders(database);
            self.spawn("request", Side::Order, work);
        }
        if let Some(database) = self.database(Side::Inventory) {
            let work = self.clients.clone().look_at_stock(database);
            self.spawn("request", Side::Inventory, work);
        }
    }

    fn adjust(&mut self, product: u8, kind: AdjustmentKind) {
        let running = self.node(Side::Inventory).running.as_ref();
        if let Some(queue) = running.and_then(|running| running.adjustments.clone()) {
            self.tell("client", || format!("{kind:?} of product {product}"));
            let work = self.clients.clone().adjust(product, kind, queue);
            self.spawn("request", Side::Inventory, work);
        }
    }

    /// The sequence of the latest order that the order service must know to be stored; 0 if there may be none. Not asked of its
    /// memory, which is what is tested.
    async fn acked(&mut self) -> u64 {
        let Some(database) = self.database(Side::Order) else { return 0 };
        let in_outbox = sqlx::query_scalar("SELECT order_id FROM outbox").fetch_all(database.reader());
        let in_outbox: BTreeSet<String> = in_outbox.await.unwrap_or_default().into_iter().collect();
        let state = self.model.state();
        let known = state.acked.iter().filter(|(_, order)| !in_outbox.contains(*order));
        known.map(|(sequence, _)| *sequence).max().unwrap_or_default()
    }

    async fn dead_letters(&mut self, side: Side) -> Vec<(i64, Vec<u8>)> {
        let Some(database) = self.database(side) else { return Vec::new() };
        let letters = sqlx::query_as("SELECT id, body FROM dead_letters ORDER BY id");
        letters.fetch_all(database.reader()).await.unwrap_or_default()
    }

    /// Has one of the dead letters handled again, or discards it.
    async fn dead_letter(&mut self, pick: u16, again: bool) {
        let side = Side::ALL[usize::from(pick) % 2];
        let letters = self.dead_letters(side).await;
        let Some(place) = usize::from(pick / 2).checked_rem(letters.len()) else { return };
        let (id, body) = &letters[place];
        if !again {
            let body = String::from_utf8_lossy(body).into_owned();
            self.memory.borrow_mut().discarded.insert((side, body));
        }
        self.end_dead_letter(side, *id, again);
    }

    /// Has all dead letters handled again, as is done once their cause is mended.
    pub(super) async fn redrive_all(&mut self, side: Side) {
        for (id, _) in self.dead_letters(side).await {
            self.end_dead_letter(side, id, true);
        }
    }

    fn end_dead_letter(&mut self, side: Side, id: i64, again: bool) {
        let Some(running) = &self.node(side).running else { return };
        let letters = running.dead_letters.clone();
        self.tell(side.name(), || {
            format!("{} the dead letter {id}", if again { "redrives" } else { "discards" })
        });
        let memory = self.memory.clone();
        self.spawn("request", side, async move {
            let by = "operator".to_owned();
            if !again {
                let _ = letters.discard(id, by).await;
            } else if let Ok(Redriven::Done(_)) = letters.redrive(id, Mode::Commit, by).await {
                memory.borrow_mut().redriven.insert((side, id));
            }
        });
    }

    async fn set_aside(&mut self, side: Side) {
        let Some(database) = self.database(side).filter(|database| database.is_writable()) else { return };
        let Some(message) = self.model.take_next(side) else { return };
        self.tell(side.name(), || format!("has {} as a dead letter", self.timeline.about(&message)));
        let body = String::from_utf8_lossy(&message.body).into_owned();
        let Outgoing { subject, headers, body: bytes } = message;
        let delivery = Delivery { subject, body: bytes, headers: Some(headers), attempt: 1 };
        let never = Never { reason: "handler_panicked", detail: "simulated".to_owned() };
        let stored = database.write(|mut tx| async {
            store::insert(&mut tx, &delivery, &never).await?;
            Ok((tx, ()))
        });
        if stored.await.is_ok() {
            self.memory.borrow_mut().set_aside.insert(body);
        }
    }

    pub(super) fn adopt(&mut self, side: Side) {
        let Some(running) = &self.node(side).running else { return };
        let healing = match side {
            Side::Order => Healing::SendAgain,
            Side::Inventory => Healing::DecideAgain,
        };
        let broker = running.broker.clone();
        self.tell(side.name(), || "adopts the consumer".to_owned());
        self.model.is_anothers(side, false);
        let memory = self.memory.clone();
        self.spawn("adoption", side, async move {
            let adopted = adopt(&broker, healing).await;
            memory.borrow_mut().has_adopted |= !matches!(adopted, Ok(Adoption::Unnecessary));
        });
    }

    /// The database may have so many pages, or as many as it has.
    pub(super) async fn limit(&mut self, side: Side, pages: u32) {
        let Some(database) = self.database(side) else { return };
        self.tell(side.name(), || format!("its database may have {pages} pages, or as many as it has"));
        if let Ok(mut tx) = database.begin().await {
            let limit = format!("PRAGMA max_page_count = {pages}");
            let _ = sqlx::query(AssertSqlSafe(limit)).execute(&mut *tx).await;
            let _ = tx.rollback().await;
        }
    }

    fn poison(&self, side: Side, kind: u8) {
        let body = match (kind, side) {
            (0, _) => "garbage",
            (1, Side::Inventory) => r#"{"orderId":"by-hand","productId":"1","quantity":1}"#,
            (1, Side::Order) => r#"{"orderId":"by-hand","status":"confirmed"}"#,
            (2, Side::Inventory) => r#"{"orderId":"by-hand","productId":"1","quantity":2}"#,
            (2, Side::Order) => r#"{"orderId":"by-hand","status":"cancelled","reason":"unknown_product"}"#,
            _ => r#"{"orderId":"by-hand","productId":"1","quantity":-1,"status":"lost"}"#,
        };
        let can_be_handled = body.contains("by-hand") && !body.contains("lost");
        if self.model.publish_by_hand(side.subject(), body) && !can_be_handled {
            self.memory.borrow_mut().poison.insert((side, body.to_owned()));
        }
    }
}
