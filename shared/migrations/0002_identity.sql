-- Which database this is, and how far it has come with its consumer: so that a copy, a restored backup or a new file never
-- takes over the consumer of another database unasked.

CREATE TABLE database_identity (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    -- A UUID, also kept in the metadata of the consumer that belongs to this database; '' until the service first opens it.
    id       TEXT    NOT NULL,
    -- The file's inode when it got its id. A file with another one is a copy, and gets an id of its own. 0: not opened yet.
    inode    INTEGER NOT NULL
) STRICT;
INSERT INTO database_identity VALUES (1, '', 0);

-- The consumer whose messages this database has handled, by its creation time; '' before the first.
ALTER TABLE broker_memory ADD COLUMN handled_consumer TEXT NOT NULL DEFAULT '';
-- The highest consumer sequence among them. A consumer whose ack floor lies above it has acknowledged what this database does
-- not hold: the database is older than its consumer.
ALTER TABLE broker_memory ADD COLUMN handled_sequence INTEGER NOT NULL DEFAULT 0;
