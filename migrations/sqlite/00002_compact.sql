-- The frames in one row each, found by keys of eight bytes.
--
-- What was indexed before is not carried over: it is read from the chain again.
-- The epoch goes with it, so that Open makes another and cursors of before fail
-- loudly.

-- +goose Up

DROP TABLE events;
DROP TABLE former_sources;
DROP TABLE parties;
DROP TABLE bodies;
DROP TABLE frames;
DROP TABLE txs;
DELETE FROM blocks;
DELETE FROM names;
DELETE FROM peers;
DELETE FROM verdicts;
DELETE FROM meta WHERE key = 'epoch';

-- id is the arrival; rows are never deleted. The columns are what is looked for,
-- the rest is packed in decided and data, which package rows reads and writes.
-- A key is eight bytes of what it stands for, 0 that there is none: what is found
-- by a key is compared whole. The transaction is in the row of its first frame;
-- its frames have consecutive ids.
CREATE TABLE frames (
    id          INTEGER NOT NULL,
    height      INTEGER NOT NULL, -- of the block; -1: seen, -2: dropped
    place       INTEGER NOT NULL, -- of the transaction in the block, less 2^31; 0 when not confirmed
    verdict     INTEGER NOT NULL, -- 7: duplicate, 11: valid
    kind        INTEGER NOT NULL, -- bits: 1, 2 protocol (0 is IM), 4, 8 operation, 16 judged by its body, 32 came before, from 256 on the type
    tx_key      INTEGER NOT NULL, -- of the txid, in the transaction's first row
    frame_key   INTEGER NOT NULL,
    content_key INTEGER NOT NULL, -- of the content id, or of a record's subject
    time_order  INTEGER NOT NULL, -- of the time stamp: uint64 with the top bit flipped, so that it sorts
    address_key INTEGER NOT NULL, -- of the source as resolved, or of the record's address
    to_key      INTEGER NOT NULL, -- of the first address that the transaction reaches, or of whom a name is transferred to
    name_key    INTEGER NOT NULL,
    decided     BLOB    NOT NULL,
    data        BLOB    NOT NULL,
    body        BLOB    NOT NULL,
    CONSTRAINT frames_pk PRIMARY KEY (id)
);

-- Each is of the rows that it can find and no others. The id is part of every
-- one, and its last column.
CREATE INDEX frames_tx ON frames (tx_key) WHERE tx_key <> 0;
CREATE INDEX frames_place ON frames (height, place) WHERE height >= 0;
CREATE INDEX frames_unconfirmed ON frames (height) WHERE height = -1;
CREATE INDEX frames_sent ON frames (address_key) WHERE address_key <> 0 AND verdict IN (7, 11);
CREATE INDEX frames_refused ON frames (address_key) WHERE address_key <> 0 AND verdict NOT IN (7, 11);
CREATE INDEX frames_reached ON frames (to_key) WHERE to_key <> 0;
CREATE INDEX frames_transfers ON frames (to_key) WHERE to_key <> 0 AND kind & 15 = 13;
CREATE INDEX frames_facts ON frames (frame_key) WHERE height >= 0 AND verdict = 11;
CREATE INDEX frames_others ON frames (frame_key) WHERE frame_key <> 0 AND (height < 0 OR verdict <> 11);
CREATE INDEX frames_contents ON frames (content_key, time_order) WHERE height >= 0 AND verdict = 11 AND content_key <> 0;
CREATE INDEX frames_names ON frames (name_key) WHERE name_key <> 0;

-- The second and further addresses that a transaction reaches: its frames are
-- those from lead on.
CREATE TABLE parties (
    key    INTEGER NOT NULL, -- of the address
    lead   INTEGER NOT NULL,
    frames INTEGER NOT NULL,
    CONSTRAINT parties_pk PRIMARY KEY (key, lead)
) WITHOUT ROWID;

-- Addresses that a frame was once attributed to, and may be no more: whoever
-- follows one of them is still told what became of the frame.
CREATE TABLE former_sources (
    address BLOB    NOT NULL,
    frame   INTEGER NOT NULL,
    CONSTRAINT former_sources_pk PRIMARY KEY (address, frame)
) WITHOUT ROWID;

-- One row for up to 256 events that are alike but for their frames: those with the
-- seqs up to last, about the frames up to frame.
CREATE TABLE events (
    last         INTEGER NOT NULL,
    frame        INTEGER NOT NULL, -- 0: of a block
    count        INTEGER NOT NULL,
    height       INTEGER NOT NULL, -- -1: none
    kind         INTEGER NOT NULL,
    verdict      INTEGER NOT NULL,
    from_verdict INTEGER NOT NULL,
    reason       INTEGER NOT NULL,
    block        BLOB    NOT NULL,
    CONSTRAINT events_pk PRIMARY KEY (last)
);
CREATE INDEX events_frames ON events (frame) WHERE frame <> 0;
CREATE INDEX events_blocks ON events (last) WHERE frame = 0;

-- +goose Down

DROP TABLE events;
DROP TABLE former_sources;
DROP TABLE parties;
DROP TABLE frames;
