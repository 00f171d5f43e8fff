-- Orders by number, each with its status changes and its idempotency key in one row. Before, an order was four rows in three tables,
-- with its id of 36 bytes in eight of their eleven entries. Times are Unix milliseconds.

CREATE INDEX status_changes_of_an_order ON status_changes (order_id, status);
CREATE INDEX idempotency_keys_of_an_order ON idempotency_keys (order_id);

-- Every row comes from an authenticated POST and is never deleted: deduplication and the audit rest on it.
CREATE TABLE orders_by_number (
    -- The number of the order's first status change, and so its place in the order of arrival.
    --
    -- Status changes are numbered in the order of the commits. One writer gives the numbers, inside the transaction that makes the
    -- change: whoever sees the change N will never see a new one below N. So "everything above the last number that I saw" is
    -- resuming without a gap.
    number          INTEGER PRIMARY KEY,
    -- A UUID v7.
    id              TEXT    NOT NULL UNIQUE,
    user_id         TEXT    NOT NULL,
    product_id      TEXT    NOT NULL CHECK (length(product_id) BETWEEN 1 AND 64),
    quantity        INTEGER NOT NULL CHECK (quantity BETWEEN 1 AND 1000000),
    status          TEXT    NOT NULL CHECK (status IN ('created', 'confirmed', 'cancelled')),
    reason          TEXT    CHECK (reason IN ('insufficient_stock', 'unknown_product')),
    created_at      INTEGER NOT NULL,
    -- When the inventory decided the order: the ce-time of its answer. NULL when the answer carried none that can be read.
    decided_at      INTEGER CHECK (decided_at IS NULL OR status <> 'created'),
    settled_at      INTEGER,
    -- The number of the change to the final status.
    settled_number  INTEGER CHECK (settled_number > number),
    traceparent     TEXT    NOT NULL,
    -- The key that the order was placed with, unique for its user while it lives. It lives 24 hours and is then forgotten; the order
    -- tells which body it came with.
    idempotency_key TEXT    CHECK (length(idempotency_key) BETWEEN 1 AND 255),
    -- When the order's event was last enqueued; 0 once its message is known to be lost.
    sent_at         INTEGER NOT NULL,
    -- Sweeps since the back-off was last at its start.
    sweeps          INTEGER NOT NULL DEFAULT 0,
    CHECK ((status = 'cancelled') = (reason IS NOT NULL)),
    CHECK ((status = 'created') = (settled_at IS NULL)),
    CHECK ((status = 'created') = (settled_number IS NULL))
) STRICT;

-- The numbers of the changes stay as they are: clients resume from them.
INSERT INTO orders_by_number (number, id, user_id, product_id, quantity, status, reason, created_at, decided_at, settled_at,
                              settled_number, traceparent, idempotency_key, sent_at, sweeps)
SELECT first.id, orders.id, orders.user_id, product_id, quantity, orders.status, orders.reason, orders.created_at, decided_at, settled_at,
       last.id, traceparent, key, sent_at, sweeps
FROM status_changes AS first
JOIN orders ON orders.id = first.order_id
LEFT JOIN status_changes AS last ON last.order_id = orders.id AND last.status <> 'created'
LEFT JOIN idempotency_keys ON idempotency_keys.order_id = orders.id
WHERE first.status = 'created'
ORDER BY first.id;

-- None may be missing: then the migration fails, and everything is as before.
CREATE TABLE every_order_is_there (is_true INTEGER NOT NULL CHECK (is_true));
INSERT INTO every_order_is_there SELECT (SELECT count(*) FROM orders) = (SELECT count(*) FROM orders_by_number);
DROP TABLE every_order_is_there;

DROP TABLE idempotency_keys;
DROP TABLE status_changes;
DROP TABLE orders;
ALTER TABLE orders_by_number RENAME TO orders;

-- Lists. Every entry ends with the number, and is read in its order, no further than the page is long.
CREATE INDEX orders_of_a_user ON orders (user_id);
CREATE INDEX orders_of_a_user_by_status ON orders (user_id, status);
CREATE INDEX orders_of_a_user_by_product ON orders (user_id, product_id);

-- Changes to a final status, of all orders and of one user's.
CREATE INDEX orders_settled ON orders (settled_number) WHERE settled_number IS NOT NULL;
CREATE INDEX orders_of_a_user_settled ON orders (user_id, settled_number) WHERE settled_number IS NOT NULL;

-- Small: it holds only the orders that are not settled. The sweeper reads it in the order of sending.
CREATE INDEX orders_pending ON orders (sent_at, sweeps) WHERE status = 'created';

CREATE UNIQUE INDEX orders_key_once ON orders (user_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX orders_keys_by_age ON orders (created_at) WHERE idempotency_key IS NOT NULL;

-- What the first answer said stays.
CREATE TRIGGER orders_settle_once BEFORE UPDATE OF status, reason, decided_at, settled_at, settled_number ON orders
WHEN OLD.status <> 'created'
BEGIN SELECT RAISE(ABORT, 'an order is settled once'); END;

CREATE TRIGGER orders_stay BEFORE DELETE ON orders
BEGIN SELECT RAISE(ABORT, 'orders are never deleted'); END;

-- Each status that an order ever had. The casts give both halves columns of one kind: only then does SQLite read a page from both
-- indexes in their order, and sort nothing.
CREATE VIEW status_changes AS
SELECT number AS id, id AS order_id, user_id, CAST('created' AS TEXT) AS status, CAST(NULL AS TEXT) AS reason, created_at AS at FROM orders
UNION ALL
SELECT settled_number, id, user_id, status, reason, settled_at FROM orders WHERE settled_number IS NOT NULL;

-- The number of the newest status change; 0 before the first. The view above would be read as a whole.
CREATE VIEW newest_status_change AS
SELECT max(coalesce((SELECT max(number) FROM orders), 0), coalesce((
    SELECT settled_number FROM orders WHERE settled_number IS NOT NULL ORDER BY settled_number DESC LIMIT 1), 0)) AS number;
