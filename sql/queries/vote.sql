-- name: ballot.store
-- The row with the higher n wins; n is assigned last, because MySQL assigns from left to right.
INSERT INTO ballots (poll_id, voter_id, n, ballot_id, choices, seq, epoch, cast_at, accepted, earlier)
VALUES (:poll_id, :voter_id, :n, :ballot_id, :choices, :seq, :epoch, :cast_at, :accepted, :earlier)
{{upsert(poll_id, voter_id)}}
    ballot_id = CASE WHEN {{new(n)}} > ballots.n THEN {{new(ballot_id)}} ELSE ballots.ballot_id END,
    choices = CASE WHEN {{new(n)}} > ballots.n THEN {{new(choices)}} ELSE ballots.choices END,
    seq = CASE WHEN {{new(n)}} > ballots.n THEN {{new(seq)}} ELSE ballots.seq END,
    epoch = CASE WHEN {{new(n)}} > ballots.n THEN {{new(epoch)}} ELSE ballots.epoch END,
    cast_at = CASE WHEN {{new(n)}} > ballots.n THEN {{new(cast_at)}} ELSE ballots.cast_at END,
    accepted = CASE WHEN {{new(n)}} > ballots.n THEN {{new(accepted)}} ELSE ballots.accepted END,
    earlier = CASE WHEN {{new(n)}} > ballots.n THEN {{new(earlier)}} ELSE ballots.earlier END,
    n = CASE WHEN {{new(n)}} > ballots.n THEN {{new(n)}} ELSE ballots.n END;

-- name: ballot.exists
-- Whether SQL knows any ballot of a poll, retracted ones too.
SELECT 1 AS found FROM ballots WHERE poll_id = :poll_id LIMIT 1;

-- name: ballot.chosen
-- Ballots by what they chose (option ids joined by commas, empty after a retraction).
SELECT choices, COUNT(*) AS n FROM ballots WHERE poll_id = :poll_id GROUP BY choices;

-- name: ballot.after
-- A poll's ballots in chunks, ordered by voter. One column: a driver in Python takes its time for each.
SELECT JSON_ARRAY(voter_id, n, ballot_id, choices, seq, epoch, cast_at, accepted, earlier) AS ballot
FROM ballots WHERE poll_id = :poll_id AND voter_id > :voter_id ORDER BY voter_id LIMIT :limit;

-- name: poll.raise_seq, mysql
-- A JSON list of [poll id, seq]: a poll's seq never goes down.
UPDATE polls JOIN {{pairs(seqs)}} ON polls.id = pairs.id
SET polls.seq = GREATEST(polls.seq, pairs.value);

-- name: poll.raise_seq, sqlite
-- A JSON list of [poll id, seq]: a poll's seq never goes down.
UPDATE polls SET seq = MAX(polls.seq, pairs.value)
FROM {{pairs(seqs)}} WHERE polls.id = pairs.id;

-- name: poll.close
-- The closing that the ledger took. The first one stays; closes_at is assigned while closed_at is still the old one.
UPDATE polls SET closes_at = CASE WHEN closed_at IS NULL THEN :at ELSE closes_at END,
    closed_at = CASE WHEN closed_at IS NULL THEN :at ELSE closed_at END
WHERE id = :id;

-- name: poll.delete
-- The deletion that the ledger took; its request key may be used again.
UPDATE polls SET deleted_at = CASE WHEN deleted_at IS NULL THEN :at ELSE deleted_at END, request_key = NULL
WHERE id = :id;

-- name: offset.create
-- A partition that nobody has read yet.
INSERT INTO log_offsets (reader, `partition`, generation, last_id, lease_owner, lease_until)
VALUES (:reader, :partition, 1, '0-0', NULL, NULL);

-- name: offset.find
-- How far a reader has come in a partition.
SELECT `partition`, generation, last_id, fencing, lease_owner, lease_until, passed
FROM log_offsets WHERE reader = :reader AND `partition` = :partition;

-- name: offset.lock
-- Like offset.find; holds up the worker and the verifier.
SELECT `partition`, generation, last_id, fencing, lease_owner, lease_until, passed
FROM log_offsets WHERE reader = :reader AND `partition` = :partition {{for_update}};

-- name: offset.all
-- All partitions of a reader.
SELECT `partition`, generation, last_id, fencing, lease_owner, lease_until, passed
FROM log_offsets WHERE reader = :reader ORDER BY `partition`;

-- name: offset.advance
-- Compare and set: matches nothing where another worker was faster or the generation has moved on.
UPDATE log_offsets SET last_id = :last_id
WHERE reader = :reader AND `partition` = :partition AND generation = :generation AND last_id = :old_id;

-- name: offset.fence
-- The partition was compared with this Redis server; under a new generation, the log begins anew.
UPDATE log_offsets SET generation = :generation, last_id = :last_id, fencing = :fencing
WHERE reader = :reader AND `partition` = :partition;

-- name: ballot.find
-- What one voter has in a poll.
SELECT poll_id, voter_id, n, ballot_id, choices, seq, epoch, cast_at, accepted, earlier
FROM ballots WHERE poll_id = :poll_id AND voter_id = :voter_id;

-- name: ballot.of_voter
-- A voter's ballots in chunks, ordered by poll.
SELECT poll_id, voter_id, n, ballot_id, choices, seq, epoch, cast_at, accepted, earlier
FROM ballots WHERE voter_id = :voter_id AND poll_id > :poll_id ORDER BY poll_id LIMIT :limit;

-- name: poll.seqs
-- The seqs of some polls (a JSON list of ids), as far as the log was stored.
SELECT polls.id, polls.seq FROM polls JOIN {{list(ids)}} ON polls.id = list.value;

-- name: dead_letter.oldest
-- Dead letters of all polls, in the order of the log.
SELECT id, poll_id, `partition`, generation, entry_id, entry, error, created_at
FROM dead_letters WHERE id > :after ORDER BY id LIMIT :limit;

-- name: dead_letter.delete
-- One that was stored after all.
DELETE FROM dead_letters WHERE id = :id;

-- name: lease.take
-- A free, expired or own lease.
UPDATE log_offsets SET lease_owner = :owner, lease_until = :until
WHERE reader = :reader AND `partition` = :partition
    AND (lease_owner IS NULL OR lease_owner = :owner OR lease_until IS NULL OR lease_until <= :now);

-- name: lease.take_from
-- The lease of a worker that holds more than its share.
UPDATE log_offsets SET lease_owner = :owner, lease_until = :until
WHERE reader = :reader AND `partition` = :partition AND lease_owner = :holder;

-- name: lease.renew
-- All leases of a worker at once.
UPDATE log_offsets SET lease_until = :until WHERE reader = :reader AND lease_owner = :owner;

-- name: lease.give_back
-- A worker that ends lets others take over at once.
UPDATE log_offsets SET lease_owner = NULL, lease_until = NULL WHERE reader = :reader AND lease_owner = :owner;

-- name: dead_letter.insert
-- An entry of the vote log that SQL refused for what it holds.
INSERT INTO dead_letters (id, poll_id, `partition`, generation, entry_id, entry, error, created_at)
VALUES (:id, :poll_id, :partition, :generation, :entry_id, :entry, :error, :created_at);

-- name: dead_letter.of_poll
-- Dead letters of a poll, in the order of the log.
SELECT id, poll_id, `partition`, generation, entry_id, entry, error, created_at
FROM dead_letters WHERE poll_id = :poll_id ORDER BY id LIMIT :limit;

-- name: dead_letter.count
-- How many dead letters a poll has.
SELECT COUNT(*) AS n FROM dead_letters WHERE poll_id = :poll_id;

-- name: dead_letter.count_all
-- How many dead letters there are, by poll (empty where the entry named none).
SELECT poll_id, COUNT(*) AS n FROM dead_letters GROUP BY poll_id ORDER BY poll_id LIMIT :limit;

-- name: setting.find
-- What the first migration fixed for good.
SELECT value FROM settings WHERE name = :name;

-- name: setting.probe
-- A write that shows whether the database takes writes.
INSERT INTO settings (name, value) VALUES ('probe', :value) {{upsert(name)}} value = {{new(value)}};

-- name: setting.put
-- One that changes.
INSERT INTO settings (name, value) VALUES (:name, :value) {{upsert(name)}} value = {{new(value)}};

-- name: setting.insert
-- Once only.
INSERT INTO settings (name, value) VALUES (:name, :value);
