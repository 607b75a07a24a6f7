-- last_used_at: the last log-in or refresh; null before the first one since this migration.
ALTER TABLE sessions ADD COLUMN last_used_at BIGINT;

CREATE INDEX sessions_user ON sessions (user_id, id);

-- A user's votes, for the export.
CREATE INDEX ballots_voter ON ballots (voter_id, poll_id);

-- Accounts whose polls are still to be deleted.
CREATE TABLE IF NOT EXISTS deleted_accounts (
    user_id {{id}} NOT NULL PRIMARY KEY,
    deleted_at BIGINT NOT NULL
) {{table}};
