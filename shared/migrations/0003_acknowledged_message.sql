-- The Nats-Msg-Id of the message with the highest acknowledged sequence; '' before the first. A stream that was truncated uses
-- sequences again: it may soon end above the remembered one, but it has another message there.
ALTER TABLE broker_memory ADD COLUMN acked_message_id TEXT NOT NULL DEFAULT '';
