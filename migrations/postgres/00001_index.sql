-- The index, as in the folder "sqlite": transactions that carry frames, the
-- frames with their decisions, the records that follow from them, the blocks and
-- the log of events.
--
-- Texts that come from the chain are bytea: any byte survives, NUL included.
-- They may be of any length, and a key of an index may not: names and IPs are
-- found by their SHA-256.
-- What the judge must know of the chain is not kept apart: it is read from the
-- frames that are confirmed and valid, through the partial indexes below, so
-- taking a block off the chain undoes it.
--
-- Rows that refer to transactions and frames are never without them: nothing of
-- these is deleted, and their numbers are given as they are written. So only
-- the reference that a reorganisation could break is checked, that of a
-- transaction to its block: checking the others row by row doubles the cost of
-- a save.

-- +goose Up

CREATE TABLE meta (
    key   text NOT NULL,
    value text NOT NULL,
    CONSTRAINT meta_pk PRIMARY KEY (key)
);
COMMENT ON TABLE meta IS 'metaim index'; -- by this a database is known to be ours

-- Who writes, and the last numbers given. One row: every transaction that writes
-- locks it, and gives up when the fence is not the one that it was let in with.
-- Numbers are kept here, not in sequences, which leave gaps.
CREATE TABLE writer (
    single     boolean NOT NULL DEFAULT true,
    fence      bigint  NOT NULL,
    last_tx    bigint  NOT NULL,
    last_frame bigint  NOT NULL,
    last_event bigint  NOT NULL,
    CONSTRAINT writer_pk PRIMARY KEY (single),
    CONSTRAINT writer_single CHECK (single)
) WITH (fillfactor = 10);
INSERT INTO writer (fence, last_tx, last_frame, last_event) VALUES (0, 0, 0, 0);

-- The best chain, without gaps. The rows above a height go when it turns.
CREATE TABLE blocks (
    height      integer NOT NULL,
    hash        bytea   NOT NULL,
    header      bytea   NOT NULL,
    median_time bigint  NOT NULL, -- of this block and its ten predecessors, Unix seconds
    state_hash  bytea   NOT NULL,
    CONSTRAINT blocks_pk PRIMARY KEY (height),
    CONSTRAINT blocks_hash_unique UNIQUE (hash),
    CONSTRAINT blocks_height_valid CHECK (height >= 0),
    CONSTRAINT blocks_sizes_valid CHECK (length(hash) = 32 AND length(header) = 80 AND length(state_hash) = 32)
);

-- id is the order of first contact. A txid may be there more than once: a chain
-- may hold the same bytes twice, and each is confirmed at its own place.
CREATE TABLE txs (
    id         bigint  NOT NULL,
    txid       bytea   NOT NULL,
    state      text    NOT NULL,
    height     integer,          -- of its block; null when not confirmed
    position   bigint  NOT NULL, -- in its block; 0 when not confirmed
    coinbase   boolean NOT NULL,
    outputs    bytea   NOT NULL, -- 20 bytes for each P2PKH output
    input_keys bytea   NOT NULL, -- length byte and key, for each
    spends     bytea   NOT NULL, -- 32 bytes of txid and 4 of output number, little endian, for each
    CONSTRAINT txs_pk PRIMARY KEY (id),
    CONSTRAINT txs_block FOREIGN KEY (height) REFERENCES blocks (height) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT txs_state_valid CHECK (state IN ('seen', 'confirmed', 'dropped')),
    CONSTRAINT txs_height_valid CHECK ((state = 'confirmed') = (height IS NOT NULL)),
    CONSTRAINT txs_txid_valid CHECK (length(txid) = 32)
);
CREATE INDEX txs_by_txid ON txs (txid);
CREATE INDEX txs_unconfirmed ON txs (id) WHERE state = 'seen';
CREATE INDEX txs_by_height ON txs (height, position) WHERE height IS NOT NULL;

-- id is the arrival. Frames of one transaction arrive together, so their order
-- is that of their transactions. state, height and position repeat those of
-- the transaction.
CREATE TABLE frames (
    id          bigint  NOT NULL,
    tx          bigint  NOT NULL,
    output      bigint  NOT NULL,
    state       text    NOT NULL,
    height      integer,
    position    bigint  NOT NULL,
    verdict     text    NOT NULL,
    protocol    text    NOT NULL,
    operation   text    NOT NULL, -- 'message', that of a record, or '' of what is malformed
    malformed   bytea,            -- why it can't be read
    frame_id    bytea,
    content_id  bytea,
    address     bytea,            -- of the source as resolved, or of the record
    source      bytea,
    type        bytea,
    encryption  bytea,
    name        bytea,
    ip          bytea,
    holder      bytea,            -- address in the record
    new_address bytea,
    other       bytea,
    time_stamp  bytea,
    time_order  bigint,           -- of the time stamp: uint64 with the top bit flipped, so that it sorts
    signature   bytea,
    signature2  bytea,
    proved_key  bytea,            -- recovered from the signature
    proved_key2 bytea,
    signed_key  bytea,            -- of who signed, when the verdict says so
    signed_key2 bytea,
    needs_body  boolean NOT NULL, -- to judge it again takes its preimage
    body        bytea,            -- of a message; may be megabytes, which are stored apart
    CONSTRAINT frames_pk PRIMARY KEY (id),
    CONSTRAINT frames_state_valid CHECK (state IN ('seen', 'confirmed', 'dropped')),
    CONSTRAINT frames_height_valid CHECK ((state = 'confirmed') = (height IS NOT NULL)),
    CONSTRAINT frames_protocol_valid CHECK (protocol IN ('im', 'n', 'p')),
    CONSTRAINT frames_operation_valid CHECK (operation IN ('', 'message', 'register', 'delete', 'transfer')),
    CONSTRAINT frames_malformed_valid CHECK ((operation = '') = (malformed IS NOT NULL)),
    CONSTRAINT frames_body_valid CHECK ((operation = 'message') = (body IS NOT NULL))
);
CREATE INDEX frames_by_tx ON frames (tx);
CREATE INDEX frames_by_address ON frames (address, id) WHERE address IS NOT NULL;
CREATE INDEX frames_by_new_address ON frames (new_address) WHERE new_address IS NOT NULL;
CREATE INDEX frames_by_frame_id ON frames (frame_id, id) WHERE frame_id IS NOT NULL;
CREATE INDEX frames_by_name ON frames (sha256(name), id) WHERE name IS NOT NULL;
CREATE INDEX frames_by_place ON frames (height, position, output, id) WHERE height IS NOT NULL;

-- The facts: one look in one of these, however many frames were refused.
CREATE INDEX frames_valid_ids ON frames (frame_id) WHERE frame_id IS NOT NULL AND height IS NOT NULL AND verdict = 'valid';
CREATE INDEX frames_valid_contents ON frames (content_id, time_order) WHERE content_id IS NOT NULL AND height IS NOT NULL AND verdict = 'valid';
CREATE INDEX frames_valid_names ON frames (sha256(name), holder, time_order) WHERE name IS NOT NULL AND height IS NOT NULL AND verdict = 'valid';
CREATE INDEX frames_valid_peers ON frames (holder, sha256(ip), time_order) WHERE ip IS NOT NULL AND height IS NOT NULL AND verdict = 'valid';
CREATE INDEX frames_valid_keys ON frames (address) WHERE signed_key IS NOT NULL AND height IS NOT NULL AND verdict = 'valid';
CREATE INDEX frames_valid_keys2 ON frames (new_address) WHERE signed_key2 IS NOT NULL AND height IS NOT NULL AND verdict = 'valid';

-- Whom a transaction pays, without its change: the recipients of its messages,
-- and their sources among them.
CREATE TABLE parties (
    address bytea  NOT NULL,
    tx      bigint NOT NULL,
    CONSTRAINT parties_pk PRIMARY KEY (address, tx)
);

-- Addresses that a frame was once attributed to, and may be no more: whoever
-- follows one of them is still told what became of the frame.
CREATE TABLE former_sources (
    address bytea  NOT NULL,
    frame   bigint NOT NULL,
    CONSTRAINT former_sources_pk PRIMARY KEY (address, frame)
);

CREATE TABLE names (
    name            bytea   NOT NULL,
    address         bytea   NOT NULL,
    since_height    integer NOT NULL,
    since_position  bigint  NOT NULL,
    since_output    bigint  NOT NULL,
    registered_at   bigint  NOT NULL, -- Unix seconds
    expires_at      bigint  NOT NULL, -- Unix seconds
    deleted         boolean NOT NULL
);
CREATE UNIQUE INDEX names_pk ON names (sha256(name));
CREATE INDEX names_by_address ON names (address);

CREATE TABLE peers (
    address       bytea   NOT NULL,
    ip            bytea   NOT NULL,
    registered_at bigint  NOT NULL, -- Unix seconds
    expires_at    bigint  NOT NULL, -- Unix seconds
    deleted       boolean NOT NULL
);
CREATE UNIQUE INDEX peers_pk ON peers (address, sha256(ip));

-- Confirmed frames by verdict, counted as they are saved.
CREATE TABLE verdicts (
    verdict text   NOT NULL,
    frames  bigint NOT NULL,
    CONSTRAINT verdicts_pk PRIMARY KEY (verdict),
    CONSTRAINT verdicts_frames_valid CHECK (frames >= 0)
);

CREATE TABLE events (
    seq          bigint NOT NULL,
    kind         text   NOT NULL,
    frame        bigint,       -- null for a block
    height       integer,
    block        bytea,
    verdict      text   NOT NULL,
    from_verdict text   NOT NULL,
    reason       text   NOT NULL,
    CONSTRAINT events_pk PRIMARY KEY (seq)
);
CREATE INDEX events_by_frame ON events (frame, seq) WHERE frame IS NOT NULL;
CREATE INDEX events_of_blocks ON events (seq) WHERE frame IS NULL;

-- +goose Down

DROP TABLE events;
DROP TABLE verdicts;
DROP TABLE peers;
DROP TABLE names;
DROP TABLE former_sources;
DROP TABLE parties;
DROP TABLE frames;
DROP TABLE txs;
DROP TABLE blocks;
DROP TABLE writer;
DROP TABLE meta;
