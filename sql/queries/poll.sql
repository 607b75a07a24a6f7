-- name: poll.insert
-- A new poll. Its code, and the request key of its owner, are unique.
INSERT INTO polls (id, code, owner_id, request_key, version, seq, question, description, min_choices, max_choices,
    results_visibility, allow_change, guests, draft, opens_at, closes_at, closed_at, deleted_at, created_at,
    paused, revealed_at, round, previous_id, rules)
VALUES (:id, :code, :owner_id, :request_key, :version, :seq, :question, :description, :min_choices, :max_choices,
    :results_visibility, :allow_change, :guests, :draft, :opens_at, :closes_at, :closed_at, :deleted_at, :created_at,
    :paused, :revealed_at, :round, :previous_id, :rules);

-- name: poll.find
-- A poll, one row an option, in one statement: rules and options are of the same version.
SELECT p.id, p.code, p.owner_id, p.version, p.seq, p.question, p.description, p.min_choices, p.max_choices,
    p.results_visibility, p.allow_change, p.guests, p.draft, p.opens_at, p.closes_at, p.closed_at, p.deleted_at,
    p.created_at, p.paused, p.revealed_at, p.round, p.previous_id, p.rules, p.deck_id, o.id AS option_id, o.label, o.image, o.correct
FROM polls p LEFT JOIN options o ON o.poll_id = p.id
WHERE p.id = :id ORDER BY o.position;

-- name: poll.find_many
-- Like poll.find for a JSON list of ids.
SELECT p.id, p.code, p.owner_id, p.version, p.seq, p.question, p.description, p.min_choices, p.max_choices,
    p.results_visibility, p.allow_change, p.guests, p.draft, p.opens_at, p.closes_at, p.closed_at, p.deleted_at,
    p.created_at, p.paused, p.revealed_at, p.round, p.previous_id, p.rules, p.deck_id, o.id AS option_id, o.label, o.image, o.correct
FROM {{list(ids)}} JOIN polls p ON p.id = list.value LEFT JOIN options o ON o.poll_id = p.id
ORDER BY p.id, o.position;

-- name: poll.lock
-- Edits, loading and the verifier take their turns here.
SELECT id FROM polls WHERE id = :id {{for_update}};

-- name: poll.id_of_code
-- The poll of a join code. Somebody else's draft is not found here, so that it takes no longer than a code of nothing.
SELECT id, draft FROM polls
WHERE code = :code AND deleted_at IS NULL AND (draft = 0 OR owner_id = :user_id);

-- name: poll.id_of_any_code
-- The poll of a join code for operators: drafts, too.
SELECT id FROM polls WHERE code = :code AND deleted_at IS NULL;

-- name: poll.id_of_key
-- The poll that an owner's Idempotency-Key made.
SELECT id FROM polls WHERE owner_id = :owner_id AND request_key = :request_key;

-- name: poll.forget_key
-- The key may be used again: after a day, or once the poll is deleted.
UPDATE polls SET request_key = NULL WHERE id = :id;

-- name: poll.update
-- An edit: everything that the owner may set. seq, closed_at and deleted_at follow the vote log.
UPDATE polls SET version = :version, question = :question, description = :description, min_choices = :min_choices,
    max_choices = :max_choices, results_visibility = :results_visibility, allow_change = :allow_change,
    guests = :guests, draft = :draft, opens_at = :opens_at, closes_at = :closes_at, paused = :paused,
    revealed_at = :revealed_at, rules = :rules
WHERE id = :id;

-- name: poll.nth
-- Whether an owner has more than so many polls.
SELECT id FROM polls WHERE owner_id = :owner_id AND deleted_at IS NULL ORDER BY id LIMIT 1 OFFSET :skip;

-- name: poll.page
-- An owner's polls, newest first: ids are time-ordered.
SELECT id FROM polls
WHERE owner_id = :owner_id AND id < :before_id AND deleted_at IS NULL
ORDER BY id DESC LIMIT :limit;

-- name: poll.due_to_close
-- Past their end and not closed in SQL yet. The latest first, so that one that cannot be closed holds up no new one.
SELECT id FROM polls
WHERE closed_at IS NULL AND closes_at <= :now AND deleted_at IS NULL AND draft = 0
ORDER BY closes_at DESC LIMIT :limit;

-- name: poll.ids_after
-- All polls in chunks, for the recount.
SELECT id FROM polls WHERE id > :id AND deleted_at IS NULL ORDER BY id LIMIT :limit;

-- name: option.insert
-- The options of a poll, in their order.
INSERT INTO options (poll_id, id, position, label, image, correct)
VALUES (:poll_id, :id, :position, :label, :image, :correct);

-- name: option.users_of_images
-- The polls that show images of a JSON list.
SELECT o.image, p.id AS poll_id FROM {{list(images)}} JOIN options o ON o.image = list.value
JOIN polls p ON p.id = o.poll_id WHERE p.deleted_at IS NULL;

-- name: option.delete_of_poll
-- Before an edit writes them anew.
DELETE FROM options WHERE poll_id = :poll_id;
