-- name: audit.insert
-- One event.
INSERT INTO audit_log (id, at, event, user_id, detail) VALUES (:id, :at, :event, :user_id, :detail);

-- name: audit.latest
-- The latest events, newest first: ids are time-ordered.
SELECT id, at, event, user_id, detail FROM audit_log ORDER BY id DESC LIMIT :limit;
