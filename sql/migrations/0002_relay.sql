-- A second reader of the vote log, the relay to Kafka.
-- passed: entries that a reader has behind it; the difference between two readers is how far one lags.
-- gap: 0 reads the log; 1 has lost its place there, the log is trimmed without it; 2 sends what it missed from SQL.
ALTER TABLE log_offsets ADD COLUMN passed BIGINT NOT NULL DEFAULT 0;

ALTER TABLE log_offsets ADD COLUMN gap SMALLINT NOT NULL DEFAULT 0;

-- Up to which seq a poll's ballots were sent.
CREATE TABLE IF NOT EXISTS relayed (
    poll_id {{id}} NOT NULL PRIMARY KEY,
    seq BIGINT NOT NULL
) {{table}};
