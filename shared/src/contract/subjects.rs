//! The names on the broker: one stream over exactly two subjects, and nothing else.

/// A new order, published by the order service.
pub const ORDER_CREATED: &str = "order_created";
/// The inventory's answer, published by the inventory service.
pub const ORDER_PROCESSED: &str = "order_processed";
/// The one stream, which holds both subjects.
pub const STREAM: &str = "ORDERS";
/// The order service's durable consumer, filtered on [`ORDER_PROCESSED`].
pub const ORDER_CONSUMER: &str = "order-service";
/// The inventory service's durable consumer, filtered on [`ORDER_CREATED`].
pub const INVENTORY_CONSUMER: &str = "inventory-service";
