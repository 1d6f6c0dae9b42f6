-- Search, conversations and coins.
--
-- What was indexed before is not carried over: it is read from the chain again,
-- and gets another epoch. Amounts of outputs weren't kept.

-- +goose Up

TRUNCATE events, former_sources, parties, frames;
DELETE FROM blocks;
DELETE FROM names;
DELETE FROM peers;
DELETE FROM verdicts;
DELETE FROM meta WHERE key = 'epoch';
UPDATE writer SET last_frame = 0, last_event = 0;

-- Conversations are counted in these alone: whom a message is from and to, and of
-- what kind, 32 came before, 64 reaches several.
DROP INDEX frames_by_source;
DROP INDEX frames_by_recipient;
CREATE INDEX frames_by_source ON frames (address_key, id) INCLUDE (to_key, kind, height, verdict) WHERE address_key <> 0 AND verdict IN (7, 11);
CREATE INDEX frames_by_recipient ON frames (to_key, id) INCLUDE (address_key, kind, height, verdict) WHERE to_key <> 0;
-- Made again after the one above: where nothing tells two indexes apart, the planner
-- takes the newer.
DROP INDEX frames_transfers;
CREATE INDEX frames_transfers ON frames (to_key, id) WHERE to_key <> 0 AND kind & 15 = 13 AND height >= 0 AND verdict = 11;
-- An expression, so that no other question takes it for the primary key.
CREATE INDEX parties_by_lead ON parties ((lead + 0));

-- Transactions by addresses that they pay or are paid by and no row of their frames
-- says: others who pay, who gets the change, whom records pay.
CREATE TABLE touched (
    key  bigint NOT NULL, -- of the address
    lead bigint NOT NULL,
    CONSTRAINT touched_pk PRIMARY KEY (key, lead)
);

-- Transactions by what they spend, where their inputs don't tell each an address.
CREATE TABLE spends (
    key  bigint NOT NULL, -- of the txid
    lead bigint NOT NULL,
    CONSTRAINT spends_pk PRIMARY KEY (key, lead)
);

-- The words of messages. Rows are never changed: what was renamed after is in the
-- table of that name. Vectors are read word by word only where the index doesn't
-- find the rows.
CREATE TABLE search (
    id    bigint   NOT NULL, -- of the frame
    words tsvector NOT NULL,
    CONSTRAINT search_pk PRIMARY KEY (id)
);
CREATE INDEX search_words ON search USING gin (words);

-- The frames up to this one are in search; those after it are looked at one by one.
CREATE TABLE searched (
    frame bigint NOT NULL
);
INSERT INTO searched (frame) VALUES (0);

-- Addresses that a frame was attributed to after it had arrived: search may have
-- it under another.
CREATE TABLE renamed (
    key   bigint NOT NULL, -- of the address
    frame bigint NOT NULL,
    CONSTRAINT renamed_pk PRIMARY KEY (key, frame)
);

-- +goose Down

-- There is no way back to the form before but an empty schema.
DROP TABLE renamed;
DROP TABLE searched;
DROP TABLE search;
DROP TABLE spends;
DROP TABLE touched;
