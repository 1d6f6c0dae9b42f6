-- The index: transactions that carry frames, the frames with their decisions,
-- the records that follow from them, the blocks and the log of events.
--
-- Texts that come from the chain are BLOBs: any byte survives, NUL included.
-- What the judge must know of the chain is not kept apart: it is read from the
-- frames that are confirmed and valid, through the partial indexes below, so
-- taking a block off the chain undoes it.

-- +goose Up

PRAGMA application_id = 0x6d65746d; -- "metm"

CREATE TABLE meta (
    key   TEXT NOT NULL,
    value TEXT NOT NULL,
    CONSTRAINT meta_pk PRIMARY KEY (key)
) WITHOUT ROWID;

-- The best chain, without gaps. The rows above a height go when it turns.
CREATE TABLE blocks (
    height      INTEGER NOT NULL,
    hash        BLOB    NOT NULL,
    header      BLOB    NOT NULL,
    median_time INTEGER NOT NULL, -- of this block and its ten predecessors, Unix seconds
    state_hash  BLOB    NOT NULL,
    CONSTRAINT blocks_pk PRIMARY KEY (height),
    CONSTRAINT blocks_hash_unique UNIQUE (hash),
    CONSTRAINT blocks_height_valid CHECK (height >= 0),
    CONSTRAINT blocks_sizes_valid CHECK (length(hash) = 32 AND length(header) = 80 AND length(state_hash) = 32)
);

-- id is the order of first contact. A txid may be there more than once: a chain
-- may hold the same bytes twice, and each is confirmed at its own place.
CREATE TABLE txs (
    id         INTEGER NOT NULL,
    txid       BLOB    NOT NULL,
    state      TEXT    NOT NULL,
    height     INTEGER,          -- of its block; null when not confirmed
    position   INTEGER NOT NULL, -- in its block; 0 when not confirmed
    coinbase   INTEGER NOT NULL,
    outputs    BLOB    NOT NULL, -- 20 bytes for each P2PKH output
    input_keys BLOB    NOT NULL, -- length byte and key, for each
    spends     BLOB    NOT NULL, -- 32 bytes of txid and 4 of output number, little endian, for each
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
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    tx          INTEGER NOT NULL,
    output      INTEGER NOT NULL,
    state       TEXT    NOT NULL,
    height      INTEGER,
    position    INTEGER NOT NULL,
    verdict     TEXT    NOT NULL,
    protocol    TEXT    NOT NULL,
    operation   TEXT    NOT NULL, -- 'message', that of a record, or '' of what is malformed
    malformed   BLOB,             -- why it can't be read
    frame_id    BLOB,
    content_id  BLOB,
    address     BLOB,             -- of the source as resolved, or of the record
    source      BLOB,
    type        BLOB,
    encryption  BLOB,
    name        BLOB,
    ip          BLOB,
    holder      BLOB,             -- address in the record
    new_address BLOB,
    other       BLOB,
    time_stamp  BLOB,
    time_order  INTEGER,          -- of the time stamp: uint64 with the top bit flipped, so that it sorts
    signature   BLOB,
    signature2  BLOB,
    proved_key  BLOB,             -- recovered from the signature
    proved_key2 BLOB,
    signed_key  BLOB,             -- of who signed, when the verdict says so
    signed_key2 BLOB,
    needs_body  INTEGER NOT NULL, -- 1: to judge it again takes its preimage
    CONSTRAINT frames_tx FOREIGN KEY (tx) REFERENCES txs (id) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT frames_state_valid CHECK (state IN ('seen', 'confirmed', 'dropped')),
    CONSTRAINT frames_height_valid CHECK ((state = 'confirmed') = (height IS NOT NULL)),
    CONSTRAINT frames_protocol_valid CHECK (protocol IN ('im', 'n', 'p')),
    CONSTRAINT frames_operation_valid CHECK (operation IN ('', 'message', 'register', 'delete', 'transfer')),
    CONSTRAINT frames_malformed_valid CHECK ((operation = '') = (malformed IS NOT NULL))
);
CREATE INDEX frames_by_tx ON frames (tx);
CREATE INDEX frames_by_address ON frames (address, tx) WHERE address IS NOT NULL;
CREATE INDEX frames_by_new_address ON frames (new_address) WHERE new_address IS NOT NULL;
CREATE INDEX frames_by_frame_id ON frames (frame_id) WHERE frame_id IS NOT NULL;
CREATE INDEX frames_by_name ON frames (name) WHERE name IS NOT NULL;
CREATE INDEX frames_by_place ON frames (height, position, output) WHERE height IS NOT NULL;

-- The facts: one look in one of these, however many frames were refused.
CREATE INDEX frames_valid_ids ON frames (frame_id) WHERE frame_id IS NOT NULL AND height IS NOT NULL AND verdict = 'valid';
CREATE INDEX frames_valid_contents ON frames (content_id, time_order) WHERE content_id IS NOT NULL AND height IS NOT NULL AND verdict = 'valid';
CREATE INDEX frames_valid_names ON frames (name, holder, time_order) WHERE name IS NOT NULL AND height IS NOT NULL AND verdict = 'valid';
CREATE INDEX frames_valid_peers ON frames (holder, ip, time_order) WHERE ip IS NOT NULL AND height IS NOT NULL AND verdict = 'valid';
CREATE INDEX frames_valid_keys ON frames (address) WHERE signed_key IS NOT NULL AND height IS NOT NULL AND verdict = 'valid';
CREATE INDEX frames_valid_keys2 ON frames (new_address) WHERE signed_key2 IS NOT NULL AND height IS NOT NULL AND verdict = 'valid';

-- Message bodies, which may be megabytes, apart from what changes.
CREATE TABLE bodies (
    frame INTEGER NOT NULL,
    body  BLOB    NOT NULL,
    CONSTRAINT bodies_pk PRIMARY KEY (frame),
    CONSTRAINT bodies_frame FOREIGN KEY (frame) REFERENCES frames (id) DEFERRABLE INITIALLY DEFERRED
);

-- Whom a transaction pays, without its change: the recipients of its messages,
-- and their sources among them.
CREATE TABLE parties (
    address BLOB    NOT NULL,
    tx      INTEGER NOT NULL,
    CONSTRAINT parties_pk PRIMARY KEY (address, tx),
    CONSTRAINT parties_tx FOREIGN KEY (tx) REFERENCES txs (id) DEFERRABLE INITIALLY DEFERRED
) WITHOUT ROWID;

-- Addresses that a frame was once attributed to, and may be no more: whoever
-- follows one of them is still told what became of the frame.
CREATE TABLE former_sources (
    address BLOB    NOT NULL,
    frame   INTEGER NOT NULL,
    CONSTRAINT former_sources_pk PRIMARY KEY (address, frame),
    CONSTRAINT former_sources_frame FOREIGN KEY (frame) REFERENCES frames (id) DEFERRABLE INITIALLY DEFERRED
) WITHOUT ROWID;

CREATE TABLE names (
    name            BLOB    NOT NULL,
    address         BLOB    NOT NULL,
    since_height    INTEGER NOT NULL,
    since_position  INTEGER NOT NULL,
    since_output    INTEGER NOT NULL,
    registered_at   INTEGER NOT NULL, -- Unix seconds
    expires_at      INTEGER NOT NULL, -- Unix seconds
    deleted         INTEGER NOT NULL,
    CONSTRAINT names_pk PRIMARY KEY (name)
) WITHOUT ROWID;
CREATE INDEX names_by_address ON names (address);

CREATE TABLE peers (
    address       BLOB    NOT NULL,
    ip            BLOB    NOT NULL,
    registered_at INTEGER NOT NULL, -- Unix seconds
    expires_at    INTEGER NOT NULL, -- Unix seconds
    deleted       INTEGER NOT NULL,
    CONSTRAINT peers_pk PRIMARY KEY (address, ip)
) WITHOUT ROWID;

-- Confirmed frames by verdict, counted as they are saved.
CREATE TABLE verdicts (
    verdict TEXT    NOT NULL,
    frames  INTEGER NOT NULL,
    CONSTRAINT verdicts_pk PRIMARY KEY (verdict),
    CONSTRAINT verdicts_frames_valid CHECK (frames >= 0)
) WITHOUT ROWID;

CREATE TABLE events (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    kind         TEXT NOT NULL,
    frame        INTEGER,      -- null for a block
    height       INTEGER,
    block        BLOB,
    verdict      TEXT NOT NULL,
    from_verdict TEXT NOT NULL,
    reason       TEXT NOT NULL,
    CONSTRAINT events_frame FOREIGN KEY (frame) REFERENCES frames (id) DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX events_by_frame ON events (frame);

-- +goose Down

DROP TABLE events;
DROP TABLE verdicts;
DROP TABLE peers;
DROP TABLE names;
DROP TABLE former_sources;
DROP TABLE parties;
DROP TABLE bodies;
DROP TABLE frames;
DROP TABLE txs;
DROP TABLE blocks;
DROP TABLE meta;
