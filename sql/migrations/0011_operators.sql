-- suspended_at: an operator suspended the account.
-- password_until: null for a password of the user's own; until when a one-time password takes a log-in, 0 once it has.
ALTER TABLE users ADD COLUMN suspended_at BIGINT;

ALTER TABLE users ADD COLUMN password_until BIGINT;

CREATE INDEX users_suspended ON users (suspended_at);

-- What happened to accounts, and what operators did. user_id: whom it is about, null if nobody is known.
CREATE TABLE IF NOT EXISTS audit_log (
    id {{id}} NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    event {{id}} NOT NULL,
    user_id {{id}},
    detail VARCHAR(255) NOT NULL
) {{table}};
