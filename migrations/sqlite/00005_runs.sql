-- The rows of the log that may tell of a frame, by how long they are: an index of
-- them all had whoever looked for a long row pass by all the short ones on the way.

-- +goose Up

DROP INDEX events_frames;
CREATE INDEX events_of_frame ON events (frame) WHERE frame <> 0 AND count = 1;
CREATE INDEX events_of_few ON events (frame) WHERE frame <> 0 AND count > 1 AND count <= 16;
CREATE INDEX events_of_many ON events (frame) WHERE frame <> 0 AND count > 16;

-- +goose Down

DROP INDEX events_of_many;
DROP INDEX events_of_few;
DROP INDEX events_of_frame;
CREATE INDEX events_frames ON events (frame) WHERE frame <> 0;
