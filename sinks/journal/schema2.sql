-- What version 2 of the format adds to schema.sql.

-- Every request to an endpoint. Rows are deleted from the front only. They are written
-- without a sync of their own: a crash may take the last ones.
CREATE TABLE attempt (
    id        INTEGER PRIMARY KEY,
    endpoint  TEXT    NOT NULL,
    at        INTEGER NOT NULL,  -- when the request began
    first     INTEGER NOT NULL,  -- sequence of the first event
    last      INTEGER NOT NULL,  -- sequence of the last event
    width     INTEGER NOT NULL,  -- how many bits last - first has; 0 for a single event
    sequences BLOB,              -- of more than two events: uvarints, the distance of each
                                 -- but the first and last from the one before
    number    INTEGER NOT NULL,
    status    INTEGER NOT NULL,  -- 0 without an answer
    fault     TEXT    NOT NULL,
    duration  INTEGER NOT NULL,  -- microseconds
    error     TEXT    NOT NULL,
    excerpt   BLOB,
    replay    TEXT    NOT NULL,
    bytes     INTEGER NOT NULL   -- that all rows ever stored, this one included, count for
);
-- The attempts with one event are those of each width whose first is at most so far
-- below it as that width says.
CREATE INDEX attempt_by_event ON attempt (width, first);

CREATE INDEX dead_by_event ON dead (sequence);

-- Indexes name only chunks that are there. Before, some of what retention had deleted
-- stayed in them.
DELETE FROM by_id WHERE first NOT IN (SELECT first FROM chunk);
DELETE FROM by_repository WHERE first NOT IN (SELECT first FROM chunk);
DELETE FROM repository WHERE id NOT IN (SELECT repository FROM by_repository);
