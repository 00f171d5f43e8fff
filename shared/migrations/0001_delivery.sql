-- The delivery tables, the same in both databases. Times are Unix milliseconds.

-- Events that were decided in a committed transaction and that the broker has not acknowledged yet.
-- The relay publishes rows in id order and deletes a row only after its PubAck.
CREATE TABLE outbox (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    -- A UUID v7, made for this row alone: it is the Nats-Msg-Id, so that a repeat is not swallowed
    -- by the broker's duplicate window, and its time says when the row was enqueued.
    message_id  TEXT    NOT NULL,
    subject     TEXT    NOT NULL,
    order_id    TEXT    NOT NULL,
    -- When the fact happened (ce-time).
    event_time  INTEGER NOT NULL,
    traceparent TEXT    NOT NULL,
    body        TEXT    NOT NULL
) STRICT;

-- Messages that can never succeed, each exactly as it came. Unique by subject and body; repeats count.
CREATE TABLE dead_letters (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    subject       TEXT    NOT NULL,
    body          BLOB    NOT NULL,
    -- A JSON object of arrays of strings.
    headers       TEXT    NOT NULL,
    reason        TEXT    NOT NULL,
    detail        TEXT    NOT NULL,
    attempts      INTEGER NOT NULL,
    first_seen_at INTEGER NOT NULL,
    last_seen_at  INTEGER NOT NULL,
    UNIQUE (subject, body)
) STRICT;

-- What this service last knew of the broker, in one row.
CREATE TABLE broker_memory (
    only_row       INTEGER PRIMARY KEY CHECK (only_row = 1),
    -- The stream that the relay publishes to, by its creation time; '' before the first. A stream with another
    -- one is another stream: the former was wiped or deleted.
    stream_created TEXT    NOT NULL,
    -- The highest sequence that this stream acknowledged. One that ends below it was truncated.
    acked_sequence INTEGER NOT NULL,
    -- 1 from the loss of a stream until somebody has seen to what was lost with it.
    lost           INTEGER NOT NULL CHECK (lost IN (0, 1)),
    -- The consumer's ack floor at this service's latest consumer reset; NULL before the first.
    reset_floor    INTEGER
) STRICT;
INSERT INTO broker_memory VALUES (1, '', 0, 0, NULL);
