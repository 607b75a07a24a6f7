-- name: deck.insert
-- A new deck. Its code, and the request key of its owner, are unique.
INSERT INTO decks (id, code, owner_id, request_key, title, version, current_id, created_at, ended_at, moving_since,
    move_from, move_closes, move_opens)
VALUES (:id, :code, :owner_id, :request_key, :title, 1, NULL, :created_at, NULL, NULL, NULL, 0, 0);

-- name: deck.find
-- A deck, one row per poll in its order, in one statement: both are of the same version.
SELECT d.id, d.code, d.owner_id, d.title, d.version, d.current_id, d.created_at, d.ended_at, d.moving_since,
    d.move_from, d.move_closes, d.move_opens, p.id AS poll_id, p.deck_shown AS shown
FROM decks d LEFT JOIN polls p ON p.deck_id = d.id AND p.deleted_at IS NULL
WHERE d.id = :id ORDER BY p.deck_position;

-- name: deck.find_many
-- Like deck.find for a JSON list of ids.
SELECT d.id, d.code, d.owner_id, d.title, d.version, d.current_id, d.created_at, d.ended_at, d.moving_since,
    d.move_from, d.move_closes, d.move_opens, p.id AS poll_id, p.deck_shown AS shown
FROM {{list(ids)}} JOIN decks d ON d.id = list.value LEFT JOIN polls p ON p.deck_id = d.id AND p.deleted_at IS NULL
ORDER BY d.id, p.deck_position;

-- name: deck.versions
-- The versions of the decks of a JSON list, and which of them have a move to finish.
SELECT d.id, d.version, d.moving_since FROM {{list(ids)}} JOIN decks d ON d.id = list.value;

-- name: deck.lock
-- Changes of one deck take their turns here.
SELECT id FROM decks WHERE id = :id {{for_update}};

-- name: deck.id_of_code
-- The deck of a join code.
SELECT id FROM decks WHERE code = :code;

-- name: deck.poll_of_code
-- Whether a poll, deleted or not, has this code.
SELECT id FROM polls WHERE code = :code;

-- name: deck.id_of_key
-- The deck that an owner's Idempotency-Key made.
SELECT id FROM decks WHERE owner_id = :owner_id AND request_key = :request_key;

-- name: deck.forget_key
-- The key may be used again: after a day.
UPDATE decks SET request_key = NULL WHERE id = :id;

-- name: deck.nth
-- Whether an owner has more than so many decks.
SELECT id FROM decks WHERE owner_id = :owner_id ORDER BY id LIMIT 1 OFFSET :skip;

-- name: deck.page
-- An owner's decks, newest first.
SELECT id FROM decks WHERE owner_id = :owner_id AND id < :before_id ORDER BY id DESC LIMIT :limit;

-- name: deck.rename
-- A new title.
UPDATE decks SET title = :title, version = version + 1 WHERE id = :id;

-- name: deck.rearranged
-- Membership or order changed; a current poll that is gone is nobody's.
UPDATE decks SET version = version + 1, current_id = :current_id WHERE id = :id;

-- name: deck.move
-- The row moves first, and only from the version that was looked at. Nothing moves twice at once.
UPDATE decks SET version = version + 1, current_id = :current_id, moving_since = :now, move_from = :move_from,
    move_closes = :closes, move_opens = :opens, ended_at = :ended_at
WHERE id = :id AND version = :version AND ended_at IS NULL AND moving_since IS NULL;

-- name: deck.moved
-- The old poll is closed and the new one open.
UPDATE decks SET moving_since = NULL WHERE id = :id AND version = :version;

-- name: deck.unfinished
-- Moves that a crash or an outage left.
SELECT id FROM decks WHERE moving_since < :before ORDER BY moving_since LIMIT :limit;

-- name: deck.release
-- Its polls are in no deck.
UPDATE polls SET deck_id = NULL, deck_position = 0, deck_shown = 0 WHERE deck_id = :id;

-- name: deck.release_poll
-- A poll leaves its deck.
UPDATE polls SET deck_id = NULL, deck_position = 0, deck_shown = 0 WHERE id = :poll_id AND deck_id = :id;

-- name: deck.take
-- A poll gets its place in a deck; only one that is in no other deck.
UPDATE polls SET deck_id = :id, deck_position = :position
WHERE id = :poll_id AND deleted_at IS NULL AND (deck_id IS NULL OR deck_id = :id);

-- name: deck.show
-- The poll is, and stays, known to everybody in the deck.
UPDATE polls SET deck_shown = 1 WHERE id = :poll_id AND deck_id = :id;

-- name: deck.delete
-- The deck alone; release its polls first.
DELETE FROM decks WHERE id = :id;

-- name: deck.owners_of_polls
-- Owner and deck of the polls of a JSON list.
SELECT p.id, p.owner_id, p.deck_id FROM {{list(ids)}} JOIN polls p ON p.id = list.value WHERE p.deleted_at IS NULL;

-- name: deck.questions
-- What a deck shows of the polls of a JSON list.
SELECT p.id, p.question, p.draft, p.opens_at, p.closes_at, p.closed_at
FROM {{list(ids)}} JOIN polls p ON p.id = list.value;

-- name: deck.of_polls
-- The deck of each poll of a JSON list that is in one.
SELECT p.id, p.deck_id FROM {{list(ids)}} JOIN polls p ON p.id = list.value WHERE p.deck_id IS NOT NULL;
