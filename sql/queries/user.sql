-- name: user.insert
-- A new account or guest. E-mails are unique and stored in lower case.
INSERT INTO users (id, email, password_hash, name, guest, created_at)
VALUES (:id, :email, :password_hash, :name, :guest, :created_at);

-- name: user.find
-- An account or guest by id.
SELECT id, email, name, guest, created_at FROM users WHERE id = :id;

-- name: user.login
-- What a log-in needs of an account.
SELECT id, email, name, guest, created_at, password_hash FROM users WHERE email = :email;

-- name: session.insert
-- A session begins with a log-in.
INSERT INTO sessions (id, user_id, created_at, expires_at, revoked_at)
VALUES (:id, :user_id, :created_at, :expires_at, NULL);

-- name: session.find
-- A session, whatever became of it.
SELECT id, user_id, created_at, expires_at, revoked_at FROM sessions WHERE id = :id;

-- name: session.revoke
-- Matches only the first time.
UPDATE sessions SET revoked_at = :at WHERE id = :id AND revoked_at IS NULL;

-- name: session.revoked_since
-- Sessions whose access tokens must be refused though they have not expired.
SELECT id FROM sessions WHERE revoked_at >= :since;

-- name: session.extend
-- Each refresh prolongs the session; never shortens it.
UPDATE sessions SET expires_at = :expires_at WHERE id = :id AND expires_at < :expires_at;

-- name: session.expired
-- Sessions that nobody can refresh any more, oldest first.
SELECT id FROM sessions WHERE expires_at < :before ORDER BY expires_at LIMIT :limit;

-- name: session.delete
-- Forget an expired session.
DELETE FROM sessions WHERE id = :id;

-- name: refresh.insert
-- A refresh token, known by its hash alone.
INSERT INTO refresh_tokens (hash, session_id, created_at, spent_at)
VALUES (:hash, :session_id, :created_at, NULL);

-- name: refresh.lock
-- A refresh token with its session and user; concurrent refreshes of one token wait here.
SELECT r.session_id, r.spent_at, s.expires_at, s.revoked_at, u.id, u.email, u.name, u.guest, u.created_at
FROM refresh_tokens r
JOIN sessions s ON s.id = r.session_id
JOIN users u ON u.id = s.user_id
WHERE r.hash = :hash {{for_update}};

-- name: refresh.spend
-- The first use sets the time from which the grace counts.
UPDATE refresh_tokens SET spent_at = :at WHERE hash = :hash AND spent_at IS NULL;

-- name: refresh.delete_of_session
-- Forget the refresh tokens of an expired session.
DELETE FROM refresh_tokens WHERE session_id = :session_id;
