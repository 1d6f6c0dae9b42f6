-- What shows that blocks hold the transactions whose frames are kept: their bytes
-- and Merkle paths, of up to 128 transactions of one block in a row. A row goes
-- with its block.

-- +goose Up

CREATE TABLE proofs (
    id   bigint NOT NULL, -- the block's height, times 2^32, and the place of the first transaction
    data bytea  NOT NULL,
    CONSTRAINT proofs_pk PRIMARY KEY (id)
);
-- Signatures and hashes don't get shorter by compression, which would be tried in vain.
ALTER TABLE proofs ALTER COLUMN data SET STORAGE EXTERNAL;

-- +goose Down

DROP TABLE proofs;
