-- name: commitment.note_close
-- A poll has closed whose rules are like a pattern: the worker is to commit to it. Once, however often this is stored.
INSERT INTO commitments (poll_id, closed_at)
SELECT id, :at FROM polls WHERE id = :id AND rules LIKE :pattern
{{upsert(poll_id)}} closed_at = commitments.closed_at;

-- name: commitment.due
-- Not published yet. The latest first, so that one that cannot be built holds up no new one.
SELECT c.poll_id FROM commitments c JOIN polls p ON p.id = c.poll_id
WHERE c.published_at IS NULL AND p.deleted_at IS NULL
ORDER BY c.closed_at DESC LIMIT :limit;

-- name: commitment.find
-- The commitment of a poll; root is null until it is built.
SELECT poll_id, build, size, root, terms, asked, checkpoint, published_at FROM commitments WHERE poll_id = :poll_id;

-- name: commitment.built
-- The commitments of a JSON list of polls, as far as they are built.
SELECT c.poll_id, c.size, c.root FROM {{list(ids)}} JOIN commitments c ON c.poll_id = list.value
WHERE c.root IS NOT NULL;

-- name: commitment.ballots
-- The standing ballots of a poll in chunks, ordered by voter.
SELECT JSON_ARRAY(voter_id, ballot_id, choices) AS ballot FROM ballots
WHERE poll_id = :poll_id AND voter_id > :voter_id AND choices <> '' ORDER BY voter_id LIMIT :limit;

-- name: commitment.insert_chunk
-- Some rows of a tree.
INSERT INTO commitment_chunks (build, level, position, poll_id, last_leaf, nodes, ballots)
VALUES (:build, :level, :position, :poll_id, :last_leaf, :nodes, :ballots);

-- name: commitment.count_chunks
-- How many rows of a tree there are.
SELECT COUNT(*) AS n FROM commitment_chunks WHERE build = :build;

-- name: commitment.finish
-- All rows are written. The first tree that is finished is the poll's for good.
UPDATE commitments SET build = :build, size = :size, root = :root, terms = :terms, asked = :asked,
    checkpoint = :checkpoint
WHERE poll_id = :poll_id AND root IS NULL;

-- name: commitment.published
-- The ledger has it, and SQL the change of the poll that went with it.
UPDATE commitments SET published_at = :at WHERE poll_id = :poll_id AND root IS NOT NULL AND published_at IS NULL;

-- name: commitment.row_of_leaf
-- The first row of leaves that may have a leaf.
SELECT position, nodes FROM commitment_chunks
WHERE build = :build AND level = 0 AND last_leaf >= :leaf ORDER BY last_leaf, position LIMIT 1;

-- name: commitment.row
-- One row of a tree.
SELECT nodes FROM commitment_chunks WHERE build = :build AND level = :level AND position = :position;

-- name: commitment.ballots_of_row
-- The lines of CSV of one row of leaves.
SELECT ballots FROM commitment_chunks WHERE build = :build AND level = 0 AND position = :position;

-- name: commitment.other_build
-- A tree of the poll that was never finished.
SELECT build, MIN(position) AS first FROM commitment_chunks
WHERE poll_id = :poll_id AND build <> :build GROUP BY build LIMIT 1;

-- name: commitment.delete_chunks
-- Some rows of a tree.
DELETE FROM commitment_chunks WHERE build = :build AND position < :before;

-- name: commitment.delete
-- The commitment of a poll that leaves SQL, once its rows are deleted.
DELETE FROM commitments WHERE poll_id = :poll_id;

-- name: commitment.keep_key
-- A public key signs from now on; again where it did before.
INSERT INTO commitment_keys (id, verifier_key, since) VALUES (:id, :verifier_key, :since)
{{upsert(id)}} since = commitment_keys.since;

-- name: commitment.keys
-- Every public key that ever signed, the newest first.
SELECT verifier_key FROM commitment_keys ORDER BY since DESC, id LIMIT :limit;
