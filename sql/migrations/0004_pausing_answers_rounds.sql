-- paused: no ballot is accepted. revealed_at: since when everybody knows which options are correct.
-- round: 1 for a poll that is no repetition. previous_id: the poll that this one repeats.
ALTER TABLE polls ADD COLUMN paused SMALLINT NOT NULL DEFAULT 0;

ALTER TABLE polls ADD COLUMN revealed_at BIGINT;

ALTER TABLE polls ADD COLUMN round BIGINT NOT NULL DEFAULT 1;

ALTER TABLE polls ADD COLUMN previous_id {{id}};

ALTER TABLE options ADD COLUMN correct SMALLINT NOT NULL DEFAULT 0;

-- Rounds of a poll share image files.
CREATE INDEX options_image ON options (image);
