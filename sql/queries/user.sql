-- name: user.insert
-- A new account or guest. E-mails are unique and stored in lower case.
INSERT INTO users (id, email, password_hash, name, guest, created_at, proven)
VALUES (:id, :email, :password_hash, :name, :guest, :created_at, :proven);

-- name: user.prove
-- A guest solved a challenge.
UPDATE users SET proven = 1 WHERE id = :id;

-- name: user.find
-- An account or guest by id.
SELECT id, email, name, guest, created_at, proven FROM users WHERE id = :id;

-- name: user.login
-- What a log-in needs of an account.
SELECT id, email, name, guest, created_at, proven, password_hash FROM users WHERE email = :email;

-- name: user.lock
-- An account or guest whose password or existence must not change until the transaction ends.
SELECT password_hash, suspended_at, password_until FROM users WHERE id = :id {{for_update}};

-- name: user.password_hash
-- What checking a password needs.
SELECT password_hash FROM users WHERE id = :id;

-- name: user.set_password
-- A changed password; until when it may be used, and null for one of the user's own.
UPDATE users SET password_hash = :password_hash, password_until = :until WHERE id = :id;

-- name: user.use_password
-- A one-time password took its log-in.
UPDATE users SET password_until = 0 WHERE id = :id;

-- name: user.suspend
-- Suspended since when; null to resume.
UPDATE users SET suspended_at = :at WHERE id = :id;

-- name: user.suspended
-- Whose tokens are refused.
SELECT id FROM users WHERE suspended_at IS NOT NULL;

-- name: user.page
-- Accounts in the order of their creation; guests are left out.
SELECT id, email, name, guest, created_at, proven, suspended_at FROM users WHERE guest = 0 AND id > :after ORDER BY id LIMIT :limit;

-- name: user.delete
-- The account itself; its polls follow.
DELETE FROM users WHERE id = :id;

-- name: account.delete
-- An account whose polls are still to be deleted.
INSERT INTO deleted_accounts (user_id, deleted_at) VALUES (:user_id, :deleted_at)
{{upsert(user_id)}} deleted_at = {{new(deleted_at)}};

-- name: account.deleted
-- Accounts whose polls are still to be deleted.
SELECT user_id, deleted_at FROM deleted_accounts ORDER BY deleted_at LIMIT :limit;

-- name: account.forget
-- Its polls are gone, and no request of it can still be on its way.
DELETE FROM deleted_accounts WHERE user_id = :user_id;

-- name: user.ensure
-- An app's own user: the row is written with the first poll.
INSERT INTO users (id, email, password_hash, name, guest, created_at) VALUES (:id, NULL, NULL, :name, 0, :created_at)
{{upsert(id)}} name = {{new(name)}};

-- name: session.revoke_tokens
-- The tokens of an app's own user, who has no session here.
INSERT INTO sessions (id, user_id, created_at, expires_at, last_used_at, revoked_at) VALUES (:id, :id, :at, :at, :at, :at)
{{upsert(id)}} expires_at = {{new(expires_at)}}, revoked_at = {{new(revoked_at)}};

-- name: session.insert
-- A session begins with a log-in.
INSERT INTO sessions (id, user_id, created_at, expires_at, last_used_at, revoked_at)
VALUES (:id, :user_id, :created_at, :expires_at, :created_at, NULL);

-- name: session.find
-- A session, whatever became of it.
SELECT id, user_id, created_at, expires_at, revoked_at FROM sessions WHERE id = :id;

-- name: session.revoke
-- Matches only the first time.
UPDATE sessions SET revoked_at = :at WHERE id = :id AND revoked_at IS NULL;

-- name: session.revoked_since
-- Sessions whose access tokens must be refused though they have not expired.
SELECT id FROM sessions WHERE revoked_at >= :since;

-- name: session.used
-- A refresh.
UPDATE sessions SET last_used_at = :at WHERE id = :id;

-- name: session.page
-- A user's sessions that have not ended, newest first: ids are time-ordered.
SELECT id, created_at, COALESCE(last_used_at, created_at) AS last_used_at FROM sessions
WHERE user_id = :user_id AND id < :before_id AND revoked_at IS NULL AND expires_at > :now AND created_at > :since
ORDER BY id DESC LIMIT :limit;

-- name: session.of_user
-- Sessions of a user that were not ended by anybody.
SELECT id FROM sessions WHERE user_id = :user_id AND revoked_at IS NULL;

-- name: session.revoke_of_user
-- All sessions of a user but one.
UPDATE sessions SET revoked_at = :at WHERE user_id = :user_id AND revoked_at IS NULL AND id <> :but;

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
SELECT r.session_id, r.spent_at, s.created_at AS began_at, s.expires_at, s.revoked_at, u.id, u.email, u.name, u.guest, u.created_at, u.proven
FROM refresh_tokens r
JOIN sessions s ON s.id = r.session_id
JOIN users u ON u.id = s.user_id
WHERE r.hash = :hash {{for_update}};

-- name: refresh.state
-- Whether a refresh token is known, and when it was spent.
SELECT spent_at FROM refresh_tokens WHERE hash = :hash;

-- name: refresh.spend
-- The first use sets the time from which the grace counts.
UPDATE refresh_tokens SET spent_at = :at WHERE hash = :hash AND spent_at IS NULL;

-- name: refresh.delete_of_session
-- Forget the refresh tokens of an expired session.
DELETE FROM refresh_tokens WHERE session_id = :session_id;
