-- Messages that may be what kills the process, and how often the handling of each was begun: counted in a commit before it, and
-- deleted with its outcome. The broker counts deliveries, of which many may come to nothing while the database is locked.
CREATE TABLE handling_attempts (
    subject  TEXT    NOT NULL,
    body     BLOB    NOT NULL,
    attempts INTEGER NOT NULL,
    PRIMARY KEY (subject, body)
) STRICT, WITHOUT ROWID;
