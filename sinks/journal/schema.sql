-- The format of regcast.db, version 1 (PRAGMA user_version). schema2.sql adds to it.
--
-- The file is in WAL mode with auto_vacuum=INCREMENTAL. All times are microseconds since
-- 1970-01-01 UTC. Only the process that holds regcast.lock writes; anyone may read.

-- Events, a row for each commit (several for a large one), in sequence. Rows are deleted
-- from the front only, so what is stored is always one unbroken range of sequences.
CREATE TABLE chunk (
    first  INTEGER PRIMARY KEY,  -- sequence of the first event
    last   INTEGER NOT NULL,     -- sequence of the last event
    stored INTEGER NOT NULL,     -- when the first event was stored; never decreases
    bytes  INTEGER NOT NULL,     -- that all chunks ever stored, this one included, have taken
    hash   BLOB    NOT NULL,     -- SHA-256 of: hash of the previous chunk (32 zero bytes
                                 -- before the first), first as 8 bytes big-endian, body
    prints BLOB    NOT NULL,     -- 24 bytes for each event: the first 8 of the SHA-256 of
                                 -- its id, the first 16 of the SHA-256 of its JSON
    body   BLOB    NOT NULL      -- the events:
    --   1 byte   version of the body, 1
    --   then for each event
    --   1 byte   flags: 1 = provenance follows, else it is that of the event before
    --   uvarint  microseconds from chunk.stored to when this event was stored
    --   uvarint  length of the format, and the format   (with flag 1)
    --   uvarint  length of the sender, and the sender   (with flag 1)
    --   uvarint  length of the JSON, and the compact JSON of the event
);

-- What is left of the chunks that were deleted. One row.
CREATE TABLE trimmed (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    last  INTEGER NOT NULL,      -- last sequence deleted, 0 for none
    bytes INTEGER NOT NULL,      -- chunk.bytes of the last chunk deleted
    hash  BLOB    NOT NULL       -- chunk.hash of the last chunk deleted
);
INSERT INTO trimmed VALUES (1, 0, 0, zeroblob(32));

-- Readers' places.
CREATE TABLE cursor (
    id        INTEGER PRIMARY KEY,
    name      TEXT    NOT NULL UNIQUE,
    start     INTEGER NOT NULL,  -- first sequence it had to settle
    low       INTEGER NOT NULL,  -- every sequence up to and including it is settled
    required  INTEGER NOT NULL,  -- 1: its events are never evicted
    retired   INTEGER NOT NULL,  -- 1: it holds nothing back
    delivered INTEGER NOT NULL,  -- settled since the start, by outcome
    filtered  INTEGER NOT NULL,
    dead      INTEGER NOT NULL,
    evicted   INTEGER NOT NULL,
    dropped   INTEGER NOT NULL
);

-- What a cursor has settled above its low-water mark: bitmaps, least significant bit of
-- the first byte first. A block without a row has nothing settled.
CREATE TABLE settled (
    cursor INTEGER NOT NULL,
    block  INTEGER NOT NULL,     -- sequences block*size … block*size+size-1
    bits   BLOB    NOT NULL,     -- size/8 bytes
    PRIMARY KEY (cursor, block)
) WITHOUT ROWID;

-- What a cursor has put aside until a time.
CREATE TABLE parked (
    cursor   INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    until    INTEGER NOT NULL,
    PRIMARY KEY (cursor, sequence)
) WITHOUT ROWID;

-- Events that were given up on. Rows stay when their cursor is deleted.
CREATE TABLE dead (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    cursor        TEXT    NOT NULL,
    reason        TEXT    NOT NULL,
    sequence      INTEGER NOT NULL,
    last          INTEGER NOT NULL,  -- of an evicted range, else 0
    count         INTEGER NOT NULL,
    attempts      INTEGER NOT NULL,
    first_attempt INTEGER NOT NULL,  -- 0 if never
    last_attempt  INTEGER NOT NULL,
    status        INTEGER NOT NULL,
    error         TEXT    NOT NULL,
    excerpt       BLOB,
    buried        INTEGER NOT NULL,
    format        TEXT    NOT NULL,  -- provenance of the event
    sender        TEXT    NOT NULL,
    event         BLOB,              -- compact JSON; NULL for a range
    bytes         INTEGER NOT NULL   -- what the row counts for
);
CREATE INDEX dead_by_cursor ON dead (cursor, id);

-- How many dead letters there are. Kept by triggers.
CREATE TABLE dead_tally (
    cursor TEXT    NOT NULL,
    reason TEXT    NOT NULL,
    count  INTEGER NOT NULL,
    bytes  INTEGER NOT NULL,
    PRIMARY KEY (cursor, reason)
) WITHOUT ROWID;
CREATE TRIGGER dead_added AFTER INSERT ON dead BEGIN
    INSERT INTO dead_tally VALUES (new.cursor, new.reason, 1, new.bytes)
        ON CONFLICT DO UPDATE SET count = count + 1, bytes = bytes + new.bytes;
END;
CREATE TRIGGER dead_removed AFTER DELETE ON dead BEGIN
    UPDATE dead_tally SET count = count - 1, bytes = bytes - old.bytes
        WHERE cursor = old.cursor AND reason = old.reason;
    DELETE FROM dead_tally WHERE cursor = old.cursor AND reason = old.reason AND count = 0;
END;

-- Input that could not be read as events.
CREATE TABLE quarantine (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    received INTEGER NOT NULL,
    reason   TEXT    NOT NULL,
    detail   TEXT    NOT NULL,
    size     INTEGER NOT NULL,       -- bytes that came; -1 if unknown
    format   TEXT    NOT NULL,
    sender   TEXT    NOT NULL,
    bytes    INTEGER NOT NULL,       -- what the row counts for
    body     BLOB    NOT NULL        -- what came, cut to a bound
);
CREATE TABLE quarantine_tally (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    count INTEGER NOT NULL,
    bytes INTEGER NOT NULL
);
INSERT INTO quarantine_tally VALUES (1, 0, 0);
CREATE TRIGGER quarantine_added AFTER INSERT ON quarantine BEGIN
    UPDATE quarantine_tally SET count = count + 1, bytes = bytes + new.bytes;
END;
CREATE TRIGGER quarantine_removed AFTER DELETE ON quarantine BEGIN
    UPDATE quarantine_tally SET count = count - 1, bytes = bytes - old.bytes;
END;

-- Small values beside the events: states of endpoints, jobs.
CREATE TABLE state (
    key   TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

-- Indexes over chunks, built after the commit by transactions of their own. They lack
-- those above indexed.last.
CREATE TABLE indexed (
    id   INTEGER PRIMARY KEY CHECK (id = 1),
    last INTEGER NOT NULL            -- every event up to and including it is indexed
);
INSERT INTO indexed VALUES (1, 0);
CREATE TABLE by_id (
    print INTEGER NOT NULL,          -- first 8 bytes of the SHA-256 of the id, big-endian
    first INTEGER NOT NULL,          -- chunk.first
    PRIMARY KEY (print, first)
) WITHOUT ROWID;
CREATE TABLE repository (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);
CREATE TABLE by_repository (
    repository INTEGER NOT NULL,
    first      INTEGER NOT NULL,     -- chunk.first; chunks are in order of time
    PRIMARY KEY (repository, first)
) WITHOUT ROWID;
