-- name: retention.polls
-- Polls that closed before a time and whose ballots still have their voters, the oldest first.
SELECT id FROM polls
WHERE anonymized_at IS NULL AND closed_at < :before AND deleted_at IS NULL
ORDER BY closed_at LIMIT :limit;

-- name: retention.anonymized
-- All ballots of the poll have lost their voters.
UPDATE polls SET anonymized_at = :at WHERE id = :id;

-- name: retention.ballots
-- A chunk of ballots that still have their voters: ids of others begin with ~, which no id of a user has.
SELECT voter_id, n, ballot_id, choices, seq, epoch, cast_at, accepted
FROM ballots WHERE poll_id = :poll_id AND voter_id < '~' ORDER BY voter_id LIMIT :limit;

-- name: retention.insert_ballot
-- The same ballots without their voters.
INSERT INTO ballots (poll_id, voter_id, n, ballot_id, choices, seq, epoch, cast_at, accepted, earlier)
VALUES (:poll_id, :voter_id, :n, :ballot_id, :choices, :seq, :epoch, :cast_at, :accepted, :earlier);

-- name: retention.delete_ballots
-- Up to the last one of the chunk.
DELETE FROM ballots WHERE poll_id = :poll_id AND voter_id <= :last AND voter_id < '~';

-- name: retention.deleted_polls
-- Polls that were deleted before a time, the oldest first.
SELECT id FROM polls WHERE deleted_at < :before ORDER BY deleted_at LIMIT :limit;

-- name: retention.last_of_chunk
-- The last voter of a chunk of a deleted poll's ballots.
SELECT MAX(voter_id) AS last FROM
(SELECT voter_id FROM ballots WHERE poll_id = :poll_id ORDER BY voter_id LIMIT :limit) AS chunk;

-- name: retention.delete_chunk
-- A chunk of a deleted poll's ballots.
DELETE FROM ballots WHERE poll_id = :poll_id AND voter_id <= :last;

-- name: retention.delete_relayed
-- How far a deleted poll was sent to Kafka.
DELETE FROM relayed WHERE poll_id = :poll_id;

-- name: retention.delete_dead_letters
-- What SQL refused of a deleted poll.
DELETE FROM dead_letters WHERE poll_id = :poll_id;

-- name: retention.delete_poll
-- The poll itself, at the end.
DELETE FROM polls WHERE id = :poll_id;

-- name: retention.guests
-- Guests that were made before a time and have no session any more, the oldest first.
SELECT id FROM users
WHERE guest = 1 AND created_at < :before AND suspended_at IS NULL
    AND NOT EXISTS (SELECT 1 FROM sessions WHERE sessions.user_id = users.id)
ORDER BY created_at LIMIT :limit;

-- name: retention.delete_user
-- A guest who is not coming back.
DELETE FROM users WHERE id = :id AND guest = 1;

-- name: retention.ended_sessions
-- Sessions that were ended before a time, the oldest first.
SELECT id FROM sessions WHERE revoked_at < :before ORDER BY revoked_at LIMIT :limit;

-- name: retention.last_audit
-- The last line of a chunk of old lines of the audit log.
SELECT MAX(id) AS last FROM (SELECT id, at FROM audit_log ORDER BY id LIMIT :limit) AS chunk WHERE at < :before;

-- name: retention.delete_audit
-- Old lines of the audit log: ids are time-ordered.
DELETE FROM audit_log WHERE id <= :last AND at < :before;
