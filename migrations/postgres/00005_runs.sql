-- The rows of the log that may tell of a frame, by how long they are: whoever looked
-- for a long row passed by all the shorter ones on the way.

-- +goose Up

DROP INDEX events_of_frames;
CREATE INDEX events_of_few ON events (frame) WHERE frame <> 0 AND count > 1 AND count <= 16;
CREATE INDEX events_of_many ON events (frame) WHERE frame <> 0 AND count > 16;

-- +goose Down

DROP INDEX events_of_many;
DROP INDEX events_of_few;
CREATE INDEX events_of_frames ON events (frame) WHERE frame <> 0 AND count > 1;
