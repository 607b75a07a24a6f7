-- anonymized_at: RETENTION_DAYS after its close a poll's ballots lost their voters.
ALTER TABLE polls ADD COLUMN anonymized_at BIGINT;

CREATE INDEX polls_retention ON polls (anonymized_at, closed_at);

CREATE INDEX polls_deleted ON polls (deleted_at);

CREATE INDEX users_guests ON users (guest, created_at);
