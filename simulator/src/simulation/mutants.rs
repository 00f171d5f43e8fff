//! Planted faults of the protocol: each must be found, or the simulation looks away from what it is for.
//!
//! None of them touches the code that people run. A mutant is a trigger in a database that undoes or forgets a write, a seat
//! at the broker that does the wrong thing in the service's name, or a task that is left out: to the rest of the world
//! it is as if the service had been written so.

use clap::ValueEnum;

use super::timeline::Side;

/// A service with a fault in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Mutant {
    /// Rows of the outbox stay after their PubAcks.
    OutboxNotCleared,
    /// Now and then an order is stored without its event.
    EventForgotten,
    /// The inventory does not answer an order that it has decided before.
    RepeatNotAnswered,
    /// Now and then the answer to a repeated order is another one.
    AnswerChanged,
    /// An event says less than was ordered.
    QuantityChanged,
    /// A confirmed order takes nothing from the stock.
    StockNotTaken,
    /// What is decided is not kept.
    ReservationNotKept,
    /// Now and then an answer is acknowledged and the order stays as it is.
    SettlementForgotten,
    /// A key is forgotten at once.
    KeyForgotten,
    /// A key is not seen before the next order is stored, as if it were looked for outside of the transaction.
    KeySeenLate,
    /// A stream that was lost is not seen to.
    LossNotNoted,
    /// What the stream acknowledged last is not remembered.
    AckedSequenceForgotten,
    /// Which stream it was is not remembered either.
    StreamForgotten,
    /// The generation is at the broker before it is committed.
    GenerationNotKept,
    /// A consumer is taken over at once, whosever it is.
    OwnerNotSeen,
    /// A message that can never succeed is acknowledged and not kept.
    DeadLetterNotStored,
    /// A dead letter that was redriven stays.
    RedriveKeepsItsRow,
    /// A sweep does not note when it sent an order.
    SweepNotNoted,
    /// A message is acknowledged when it arrives.
    AckBeforeCommit,
    /// An event counts as sent without its PubAck.
    PubAckNotAwaited,
    /// Every sending of an event has the same `Nats-Msg-Id`.
    OneIdForAll,
    /// What is to be delivered again is terminated.
    NakAsTerm,
    /// Of a batch only the first message is acknowledged.
    OnlyFirstAcked,
    /// A reset goes back to the beginning of the stream.
    ResetToTheBeginning,
    /// The consumer receives both subjects.
    NoFilter,
    /// The inventory's consumer is taken to owe nothing.
    NothingOwed,
    /// Nothing is ever sent again.
    NoSweeper,
    /// A database that could not be written is never tried again.
    NoProbe,
}

impl Mutant {
    /// As it is chosen on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// What it plants in the database of this side.
    pub fn trigger(self, side: Side) -> Option<&'static str> {
        Some(match (self, side) {
            (Self::OutboxNotCleared, Side::Order) => {
                "CREATE TRIGGER mutant BEFORE DELETE ON outbox_batches BEGIN SELECT RAISE(IGNORE); END"
            }
            (Self::EventForgotten, Side::Order) => {
                "CREATE TRIGGER mutant BEFORE INSERT ON outbox_batches
                 WHEN (SELECT count(*) FROM orders) % 3 = 2 BEGIN SELECT RAISE(IGNORE); END"
            }
            (Self::RepeatNotAnswered, Side::Inventory) => {
                "CREATE TRIGGER mutant BEFORE INSERT ON outbox_batches
                 WHEN NOT EXISTS (SELECT 1 FROM json_each(NEW.events)
                                  WHERE value ->> 2 NOT IN (SELECT order_id FROM reservations))
                 BEGIN SELECT RAISE(IGNORE); END"
            }
            (Self::AnswerChanged, Side::Inventory) => {
                "CREATE TRIGGER mutant AFTER INSERT ON outbox_batches
                 WHEN NOT EXISTS (SELECT 1 FROM json_each(NEW.events)
                                  WHERE value ->> 2 NOT IN (SELECT order_id FROM reservations))
                 BEGIN UPDATE outbox_batches
                       SET events = replace(events, '\\\"confirmed\\\"', '\\\"cancelled\\\",\\\"reason\\\":\\\"insufficient_stock\\\"')
                       WHERE id = NEW.id; END"
            }
            (Self::QuantityChanged, Side::Order) => {
                "CREATE TRIGGER mutant AFTER INSERT ON outbox_batches
                 BEGIN UPDATE outbox_batches SET events = replace(events, '\\\"quantity\\\":3', '\\\"quantity\\\":2')
                       WHERE id = NEW.id; END"
            }
            (Self::StockNotTaken, Side::Inventory) => {
                "CREATE TRIGGER mutant BEFORE UPDATE OF stock ON products
                 WHEN NEW.stock < OLD.stock BEGIN SELECT RAISE(IGNORE); END"
            }
            (Self::ReservationNotKept, Side::Inventory) => {
                "CREATE TRIGGER mutant BEFORE INSERT ON reservations
                 WHEN (SELECT count(*) FROM reservations) % 3 = 2 BEGIN SELECT RAISE(IGNORE); END"
            }
            (Self::SettlementForgotten, Side::Order) => {
                "CREATE TRIGGER mutant BEFORE UPDATE OF status ON orders
                 WHEN NEW.status <> 'created' AND OLD.sweeps = 0 AND OLD.number % 3 = 0
                 BEGIN SELECT RAISE(IGNORE); END"
            }
            (Self::KeyForgotten, Side::Order) => {
                "CREATE TRIGGER mutant AFTER INSERT ON orders
                 BEGIN UPDATE orders SET idempotency_key = NULL WHERE number = NEW.number; END"
            }
            (Self::KeySeenLate, Side::Order) => {
                "CREATE TRIGGER mutant AFTER INSERT ON orders
                 BEGIN UPDATE orders SET idempotency_key = number || '~' || idempotency_key WHERE number = NEW.number;
                       UPDATE OR IGNORE orders SET idempotency_key = substr(idempotency_key, instr(idempotency_key, '~') + 1)
                       WHERE idempotency_key LIKE '%~%' AND number <> NEW.number; END"
            }
            (Self::LossNotNoted, Side::Order) => {
                "CREATE TRIGGER mutant AFTER UPDATE OF lost ON broker_memory WHEN NEW.lost
                 BEGIN UPDATE broker_memory SET lost = 0; END"
            }
            (Self::AckedSequenceForgotten, _) => {
                "CREATE TRIGGER mutant AFTER UPDATE OF acked_sequence ON broker_memory WHEN NEW.acked_sequence > 0
                 BEGIN UPDATE broker_memory SET acked_sequence = 0, acked_message_id = ''; END"
            }
            (Self::StreamForgotten, _) => {
                "CREATE TRIGGER mutant AFTER UPDATE ON broker_memory WHEN NEW.stream_created <> ''
                 BEGIN UPDATE broker_memory SET stream_created = '', acked_sequence = 0, acked_message_id = ''; END"
            }
            (Self::GenerationNotKept, _) => {
                "CREATE TRIGGER mutant AFTER UPDATE OF generation ON database_identity WHEN NEW.generation % 3 = 2
                 BEGIN UPDATE database_identity SET generation = OLD.generation; END"
            }
            (Self::DeadLetterNotStored, _) => {
                "CREATE TRIGGER mutant BEFORE INSERT ON dead_letters BEGIN SELECT RAISE(IGNORE); END"
            }
            (Self::RedriveKeepsItsRow, _) => {
                "CREATE TRIGGER mutant BEFORE DELETE ON dead_letters BEGIN SELECT RAISE(IGNORE); END"
            }
            (Self::SweepNotNoted, Side::Order) => {
                "CREATE TRIGGER mutant AFTER UPDATE OF sent_at ON orders WHEN NEW.sent_at > OLD.sent_at
                 BEGIN UPDATE orders SET sent_at = OLD.sent_at, sweeps = 0 WHERE number = NEW.number; END"
            }
            _ => return None,
        })
    }
}
