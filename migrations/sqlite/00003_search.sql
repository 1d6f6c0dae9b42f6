-- Search, conversations and coins.
--
-- What was indexed before is not carried over: it is read from the chain again,
-- and gets another epoch. Amounts of outputs weren't kept.

-- +goose Up

DELETE FROM events;
DELETE FROM former_sources;
DELETE FROM parties;
DELETE FROM frames;
DELETE FROM blocks;
DELETE FROM names;
DELETE FROM peers;
DELETE FROM verdicts;
DELETE FROM meta WHERE key = 'epoch';

-- Conversations are counted in these alone: whom a message is from and to, and of
-- what kind, 32 came before, 64 reaches several. They hold the id twice, because
-- what comes after it must not come before.
DROP INDEX frames_sent;
DROP INDEX frames_reached;
CREATE INDEX frames_sent ON frames (address_key, id, to_key, kind, verdict) WHERE address_key <> 0 AND verdict IN (7, 11);
CREATE INDEX frames_reached ON frames (to_key, id, address_key, kind, verdict) WHERE to_key <> 0;
-- Dropped ones are few, and don't count.
CREATE INDEX frames_dropped_from ON frames (address_key) WHERE height = -2;
CREATE INDEX frames_dropped_to ON frames (to_key) WHERE height = -2;
CREATE INDEX parties_leads ON parties (lead);

-- Transactions by addresses that they pay or are paid by and no row of their frames
-- says: others who pay, who gets the change, whom records pay.
CREATE TABLE touched (
    key  INTEGER NOT NULL, -- of the address
    lead INTEGER NOT NULL,
    CONSTRAINT touched_pk PRIMARY KEY (key, lead)
) WITHOUT ROWID;

-- Transactions by what they spend, where their inputs don't tell each an address.
CREATE TABLE spends (
    key  INTEGER NOT NULL, -- of the txid
    lead INTEGER NOT NULL,
    CONSTRAINT spends_pk PRIMARY KEY (key, lead)
) WITHOUT ROWID;

-- The words of messages: rowid is the frame. Nothing is kept but which message has
-- a word, so that nothing can be deleted, and needn't be. Words hold letters and
-- digits only, and the mark @; bytes beyond ASCII are parts of words.
CREATE VIRTUAL TABLE search USING fts5 (words, content = '', columnsize = 0, detail = 'none', tokenize = "ascii tokenchars '@'");

-- The frames up to this one are in search; those after it are looked at one by one.
CREATE TABLE searched (
    frame INTEGER NOT NULL,
    CONSTRAINT searched_pk PRIMARY KEY (frame)
);
INSERT INTO searched (frame) VALUES (0);

-- Addresses that a frame was attributed to after it had arrived: search may have
-- it under another.
CREATE TABLE renamed (
    key   INTEGER NOT NULL, -- of the address
    frame INTEGER NOT NULL,
    CONSTRAINT renamed_pk PRIMARY KEY (key, frame)
) WITHOUT ROWID;

-- +goose Down

-- There is no way back to the form before but an empty file.
DROP TABLE renamed;
DROP TABLE searched;
DROP TABLE search;
DROP TABLE spends;
DROP TABLE touched;
