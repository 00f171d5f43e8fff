-- Stock, and why it is what it is. Times are Unix milliseconds.
-- At any moment, per product: stock = adjustments − confirmed reservations.

CREATE TABLE products (
    id    TEXT    PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 64),
    stock INTEGER NOT NULL CHECK (stock >= 0)
) STRICT, WITHOUT ROWID;

-- Every change of stock that no order made.
CREATE TABLE adjustments (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    product_id TEXT    NOT NULL REFERENCES products (id),
    kind       TEXT    NOT NULL CHECK (kind IN ('seed', 'restock', 'correction')),
    delta      INTEGER NOT NULL,
    reason     TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- A product is seeded once; a seed never falls on real stock again.
CREATE UNIQUE INDEX adjustments_seed_once ON adjustments (product_id) WHERE kind = 'seed';

CREATE INDEX adjustments_of_a_product ON adjustments (product_id, id);

-- One row per decided order, never deleted or changed. It is the inbox (a repeat finds it), the reservation,
-- the stock movement, and the stored answer in one.
CREATE TABLE reservations (
    order_id    TEXT    PRIMARY KEY CHECK (length(order_id) BETWEEN 1 AND 64),
    -- Not a foreign key: an order for an unknown product is decided too.
    product_id  TEXT    NOT NULL,
    quantity    INTEGER NOT NULL CHECK (quantity BETWEEN 1 AND 1000000),
    status      TEXT    NOT NULL CHECK (status IN ('confirmed', 'cancelled')),
    reason      TEXT    CHECK (reason IN ('insufficient_stock', 'unknown_product')),
    decided_at  INTEGER NOT NULL,
    traceparent TEXT    NOT NULL,
    CHECK ((status = 'cancelled') = (reason IS NOT NULL))
) STRICT, WITHOUT ROWID;

CREATE TRIGGER reservations_do_not_change BEFORE UPDATE ON reservations
BEGIN SELECT RAISE(ABORT, 'an order is decided once'); END;

CREATE TRIGGER reservations_stay BEFORE DELETE ON reservations
BEGIN SELECT RAISE(ABORT, 'reservations are never deleted'); END;
