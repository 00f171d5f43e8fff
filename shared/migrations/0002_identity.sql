-- Which database this is: so that a copy, a restored backup or a new file never takes over the consumer of another database unasked.

CREATE TABLE database_identity (
    only_row   INTEGER PRIMARY KEY CHECK (only_row = 1),
    -- A UUID, also kept in the metadata of the consumer that belongs to this database; '' until the service first opens it.
    id         TEXT    NOT NULL,
    -- The file's inode when it got its id. A file with another one is a copy, and gets an id of its own. 0: not opened yet.
    inode      INTEGER NOT NULL,
    -- Raised at most once a second while the database changes, and kept in the consumer's metadata, too, where it is written
    -- after its commit here. So it can only be higher there when this file is an older state of the database.
    generation INTEGER NOT NULL
) STRICT;
INSERT INTO database_identity VALUES (1, '', 0, 0);
