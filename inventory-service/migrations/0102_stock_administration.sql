-- Stock that people change: who did it, under which key, and what it came to.

-- Who asked; NULL for a seed.
ALTER TABLE adjustments ADD COLUMN user_id TEXT;

-- The adjustment is the record of its request. It is never deleted, so the key means the same change for ever.
ALTER TABLE adjustments ADD COLUMN idempotency_key TEXT
    CHECK (idempotency_key IS NULL OR (user_id IS NOT NULL AND length(idempotency_key) BETWEEN 1 AND 255));

-- The product's stock right after it. NULL in rows that are older than this column.
ALTER TABLE adjustments ADD COLUMN stock_after INTEGER CHECK (stock_after >= 0);

CREATE UNIQUE INDEX adjustments_key_once ON adjustments (user_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL;

-- The two halves of a product's movements, each in the order in which they are read.
CREATE INDEX adjustments_as_movements ON adjustments (product_id, created_at, id);
CREATE INDEX reservations_as_movements ON reservations (product_id, decided_at, order_id)
    WHERE status = 'confirmed';

CREATE TRIGGER adjustments_do_not_change BEFORE UPDATE ON adjustments
BEGIN SELECT RAISE(ABORT, 'an adjustment is corrected by another one'); END;

CREATE TRIGGER adjustments_stay BEFORE DELETE ON adjustments
BEGIN SELECT RAISE(ABORT, 'adjustments are never deleted'); END;
