-- The status changes of orders, numbered as they happen, and the indexes of filtered lists. Times are Unix milliseconds.

-- When the inventory decided the order: the ce-time of its answer. NULL when the answer carried none that can be read.
ALTER TABLE orders ADD COLUMN decided_at INTEGER CHECK (decided_at IS NULL OR status <> 'created');

-- What the first answer said stays, and not only its status.
DROP TRIGGER orders_settle_once;
CREATE TRIGGER orders_settle_once BEFORE UPDATE OF status, reason, settled_at, decided_at ON orders
WHEN OLD.status <> 'created'
BEGIN SELECT RAISE(ABORT, 'an order is settled once'); END;

-- Each status that an order ever had, in the order of the commits. One writer gives the ids, inside the transaction that makes the
-- change: whoever sees id N will never see a new row below N. So "everything above the last id that I saw" is resuming without a
-- gap. Rows are never deleted, so an id is never given twice, also without AUTOINCREMENT.
CREATE TABLE status_changes (
    id       INTEGER PRIMARY KEY,
    order_id TEXT    NOT NULL,
    -- What a watcher is told stands in the row itself, so that reading a page of changes joins nothing.
    user_id  TEXT    NOT NULL,
    status   TEXT    NOT NULL,
    reason   TEXT,
    at       INTEGER NOT NULL
) STRICT;

-- Every index entry ends with the id, so a user's changes are read in its order.
CREATE INDEX status_changes_of_a_user ON status_changes (user_id);

-- What happened before this table existed, in the order of time; an order is created before it is settled, whatever the clock did.
INSERT INTO status_changes (order_id, user_id, status, reason, at)
SELECT order_id, user_id, status, reason, at
FROM (
    SELECT id AS order_id, user_id, 'created' AS status, NULL AS reason, created_at AS at, created_at AS place, 0 AS settled
    FROM orders
    UNION ALL
    SELECT id, user_id, status, reason, settled_at, max(settled_at, created_at), 1
    FROM orders WHERE status <> 'created'
)
ORDER BY place, settled, order_id;

-- Triggers, so that no statement can change a status without its row, and none has to think of it.
CREATE TRIGGER orders_note_their_first_status AFTER INSERT ON orders
BEGIN
    INSERT INTO status_changes (order_id, user_id, status, reason, at)
    VALUES (NEW.id, NEW.user_id, NEW.status, NEW.reason, coalesce(NEW.settled_at, NEW.created_at));
END;

CREATE TRIGGER orders_note_a_new_status AFTER UPDATE OF status ON orders
BEGIN
    INSERT INTO status_changes (order_id, user_id, status, reason, at)
    VALUES (NEW.id, NEW.user_id, NEW.status, NEW.reason, coalesce(NEW.settled_at, NEW.created_at));
END;

CREATE TRIGGER status_changes_do_not_change BEFORE UPDATE ON status_changes
BEGIN SELECT RAISE(ABORT, 'a status change is a fact'); END;

CREATE TRIGGER status_changes_stay BEFORE DELETE ON status_changes
BEGIN SELECT RAISE(ABORT, 'status changes are never deleted'); END;

-- A filtered list is read in the order of its page, and no further than the page is long.
CREATE INDEX orders_of_a_user_by_status ON orders (user_id, status, id);
CREATE INDEX orders_of_a_user_by_product ON orders (user_id, product_id, id);
