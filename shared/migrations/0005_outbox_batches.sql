-- The outbox by transactions: what one transaction enqueues is one row, written, read and deleted as one. A row for each event cost
-- as much as the order that it announces.

CREATE TABLE outbox_batches (
    -- In the order of the commits, and never used again.
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    event_count INTEGER NOT NULL CHECK (event_count > 0),
    -- A JSON array of the events in their order, each an array:
    --   0 message_id   a UUID v7, made for this event in this row alone: it is the Nats-Msg-Id, so that a repeat is not swallowed
    --                  by the broker's duplicate window, and its time says when the event was enqueued
    --   1 subject
    --   2 order_id
    --   3 event_time   when the fact happened (ce-time), in Unix milliseconds
    --   4 traceparent
    --   5 body         JSON, as a text
    events      TEXT    NOT NULL
) STRICT;

INSERT INTO outbox_batches (id, event_count, events)
SELECT id, 1, json_array(json_array(message_id, subject, order_id, event_time, traceparent, body)) FROM outbox ORDER BY id;
DROP TABLE outbox;

-- One row for each event that waits; for people, the sweeper and the audit.
CREATE VIEW outbox AS
SELECT batch.id AS batch, event.key AS place, event.value ->> 0 AS message_id, event.value ->> 1 AS subject,
       event.value ->> 2 AS order_id, event.value ->> 3 AS event_time, event.value ->> 4 AS traceparent, event.value ->> 5 AS body
FROM outbox_batches AS batch, json_each(batch.events) AS event;
