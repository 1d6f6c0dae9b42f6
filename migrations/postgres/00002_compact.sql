-- The index in a third of the room: one row for each frame, found by keys of eight
-- bytes, and what isn't looked for packed into it. An index of the first form is
-- not carried over: it follows from the chain, and is read from there again. It
-- gets another epoch, so whoever reads on after an event of the old one is told.
--
-- A key is the first eight bytes of a hash, an address or such, as a number; 0
-- says that there is none. Somebody may make two things of one key, so whoever
-- finds a row compares what it holds. Nothing is null in a frame, and nothing is
-- checked or referred to row by row: the store does that, or it follows from how
-- the rows are made.

-- +goose Up

DROP TABLE events;
DROP TABLE former_sources;
DROP TABLE parties;
DROP TABLE frames;
DROP TABLE txs;
DELETE FROM blocks;
DELETE FROM names;
DELETE FROM peers;
DELETE FROM verdicts;
DELETE FROM meta WHERE key = 'epoch'; -- whoever opens the index gives it a new one
ALTER TABLE writer DROP COLUMN last_tx;
UPDATE writer SET last_frame = 0, last_event = 0;

-- id is the arrival: the order of first contact. The frames of a transaction have
-- consecutive ones, and the transaction is packed in the row of the first, its
-- lead. Long fields first, so that no room is lost between them.
CREATE TABLE frames (
    id          bigint   NOT NULL,
    tx_key      bigint   NOT NULL, -- of the txid; in leads
    frame_key   bigint   NOT NULL, -- of the frame id
    content_key bigint   NOT NULL, -- of what the time stamp is compared within: a content id, or the subject of a record
    time_order  bigint   NOT NULL, -- of the time stamp: uint64 with the top bit flipped, so that it sorts
    address_key bigint   NOT NULL, -- of the source as resolved, or of the record's address
    to_key      bigint   NOT NULL, -- of the first address that a message reaches, or of the new one in a transfer
    name_key    bigint   NOT NULL, -- of the name in a record
    height      integer  NOT NULL, -- of its block; -1: seen, -2: dropped
    place       integer  NOT NULL, -- in its block
    kind        integer  NOT NULL, -- protocol, operation, hash of the type, and more, by bits
    verdict     smallint NOT NULL, -- by number: 7 duplicate, 11 valid
    decided     bytea    NOT NULL, -- who sent and signed, where the rest doesn't say it
    data        bytea    NOT NULL, -- the frame, and in a lead the transaction
    body        bytea    NOT NULL, -- of a message; may be megabytes, which are stored apart
    CONSTRAINT frames_pk PRIMARY KEY (id)
);
-- Hardly anything here gets shorter by compression, which would be tried in vain.
ALTER TABLE frames ALTER COLUMN decided SET STORAGE EXTERNAL, ALTER COLUMN data SET STORAGE EXTERNAL, ALTER COLUMN body SET STORAGE EXTERNAL;

CREATE INDEX frames_by_tx ON frames (tx_key) WHERE tx_key <> 0;
CREATE INDEX frames_by_height ON frames (height) WHERE height >= 0; -- a block's frames share an entry; they are sorted when read
CREATE INDEX frames_unconfirmed ON frames (id) WHERE height = -1;
-- What an address sent: what counts, and what was refused.
CREATE INDEX frames_by_source ON frames (address_key, id) WHERE address_key <> 0 AND verdict IN (7, 11);
CREATE INDEX frames_refused ON frames (address_key, id) WHERE address_key <> 0 AND verdict NOT IN (7, 11);
CREATE INDEX frames_by_recipient ON frames (to_key, id) WHERE to_key <> 0;
-- Transfers of names prove the key of whom they are to, who may have received much else.
CREATE INDEX frames_transfers ON frames (to_key, id) WHERE to_key <> 0 AND kind & 15 = 13 AND height >= 0 AND verdict = 11;
-- By frame id: the facts, and all others, of which somebody may make many copies.
CREATE INDEX frames_valid_ids ON frames (frame_key) WHERE frame_key <> 0 AND height >= 0 AND verdict = 11;
CREATE INDEX frames_other_ids ON frames (frame_key, id) WHERE frame_key <> 0 AND (height < 0 OR verdict <> 11);
CREATE INDEX frames_valid_contents ON frames (content_key, time_order) WHERE content_key <> 0 AND height >= 0 AND verdict = 11;
CREATE INDEX frames_by_name ON frames (name_key, id) WHERE name_key <> 0;

-- The second address that a transaction reaches, and further ones. Its frames are
-- those from lead on.
CREATE TABLE parties (
    key    bigint NOT NULL,
    lead   bigint NOT NULL,
    frames bigint NOT NULL,
    CONSTRAINT parties_pk PRIMARY KEY (key, lead)
);

-- Addresses that a frame was once attributed to, and may be no more: whoever
-- follows one of them is still told what became of the frame.
CREATE TABLE former_sources (
    address bytea  NOT NULL,
    frame   bigint NOT NULL,
    CONSTRAINT former_sources_pk PRIMARY KEY (address, frame)
);

-- The log. A row stands for count events alike, with consecutive seqs up to last,
-- about frames with consecutive arrivals up to frame; frame is 0 for a block.
CREATE TABLE events (
    last         bigint   NOT NULL,
    frame        bigint   NOT NULL,
    count        integer  NOT NULL,
    height       integer  NOT NULL, -- -1: none
    kind         smallint NOT NULL,
    verdict      smallint NOT NULL,
    from_verdict smallint NOT NULL,
    reason       smallint NOT NULL,
    block        bytea    NOT NULL,
    CONSTRAINT events_pk PRIMARY KEY (last)
);
-- Rows of one event are found by its frame at once, others by looking a little on.
CREATE INDEX events_of_frame ON events (frame) WHERE frame <> 0 AND count = 1;
CREATE INDEX events_of_frames ON events (frame) WHERE frame <> 0 AND count > 1;
CREATE INDEX events_of_blocks ON events (last) WHERE frame = 0;

-- +goose Down

-- There is no way back to the first form but an empty schema.
DROP TABLE events;
DROP TABLE verdicts;
DROP TABLE peers;
DROP TABLE names;
DROP TABLE former_sources;
DROP TABLE parties;
DROP TABLE frames;
DROP TABLE blocks;
DROP TABLE writer;
DROP TABLE meta;
