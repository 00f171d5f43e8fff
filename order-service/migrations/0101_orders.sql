-- Orders and their idempotency keys. Times are Unix milliseconds.

-- Every row comes from an authenticated POST and is never deleted: deduplication and the audit rest on it.
CREATE TABLE orders (
    -- A UUID v7, so that new rows are appended and the primary key is the order of arrival.
    id          TEXT    PRIMARY KEY,
    user_id     TEXT    NOT NULL,
    product_id  TEXT    NOT NULL CHECK (length(product_id) BETWEEN 1 AND 64),
    quantity    INTEGER NOT NULL CHECK (quantity BETWEEN 1 AND 1000000),
    status      TEXT    NOT NULL CHECK (status IN ('created', 'confirmed', 'cancelled')),
    reason      TEXT    CHECK (reason IN ('insufficient_stock', 'unknown_product')),
    created_at  INTEGER NOT NULL,
    settled_at  INTEGER,
    traceparent TEXT    NOT NULL,
    -- When the order's event was last enqueued; 0 once its message is known to be lost.
    sent_at     INTEGER NOT NULL,
    -- Sweeps since the back-off was last at its start.
    sweeps      INTEGER NOT NULL DEFAULT 0,
    CHECK ((status = 'cancelled') = (reason IS NOT NULL)),
    CHECK ((status = 'created') = (settled_at IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX orders_of_a_user ON orders (user_id, id);

-- Small: it holds only the orders that are not settled. The sweeper reads it in the order of sending.
CREATE INDEX orders_pending ON orders (sent_at, sweeps) WHERE status = 'created';

CREATE TRIGGER orders_settle_once BEFORE UPDATE OF status ON orders WHEN OLD.status <> 'created'
BEGIN SELECT RAISE(ABORT, 'an order is settled once'); END;

CREATE TRIGGER orders_stay BEFORE DELETE ON orders
BEGIN SELECT RAISE(ABORT, 'orders are never deleted'); END;

-- Which order a key made. A key lives 24 hours; the order tells which body it came with.
CREATE TABLE idempotency_keys (
    user_id    TEXT    NOT NULL,
    key        TEXT    NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    order_id   TEXT    NOT NULL REFERENCES orders (id),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
