-- name: reader.all
-- Every reader of the log in every partition.
SELECT reader, `partition`, generation, last_id, passed, gap FROM log_offsets ORDER BY `partition`;

-- name: reader.of_partition
-- Every reader of one partition.
SELECT reader, `partition`, generation, last_id, passed, gap FROM log_offsets WHERE `partition` = :partition;

-- name: reader.count
-- In the transaction that has advanced it: so many entries more lie behind it.
UPDATE log_offsets SET passed = passed + :entries WHERE reader = :reader AND `partition` = :partition;

-- name: reader.create
-- One that has read nothing: it begins with what SQL has.
INSERT INTO log_offsets (reader, `partition`, generation, last_id, gap) VALUES (:reader, :partition, 1, '0-0', 1);

-- name: reader.advance
-- Compare and set: matches nothing where another one was faster, or the log may have been trimmed without this reader.
UPDATE log_offsets SET last_id = :last_id, passed = passed + :entries
WHERE reader = :reader AND `partition` = :partition AND generation = :generation AND last_id = :old_id AND gap = 0;

-- name: reader.lose
-- From here on the log is trimmed without it. Matches nothing where it has moved meanwhile.
UPDATE log_offsets SET gap = 1
WHERE reader = :reader AND `partition` = :partition AND generation = :generation AND last_id = :last_id AND gap <> 1;

-- name: reader.place
-- Take a place in the log again, while SQL's offset is locked; what lies before it is sent from SQL.
UPDATE log_offsets SET generation = :generation, last_id = :last_id, passed = :passed, gap = 2
WHERE reader = :reader AND `partition` = :partition AND gap = 1;

-- name: reader.resume
-- All of that was sent: read the log again.
UPDATE log_offsets SET gap = 0
WHERE reader = :reader AND `partition` = :partition AND generation = :generation AND last_id = :last_id AND gap = 2;

-- name: reader.remove
-- The log is no longer kept for it.
DELETE FROM log_offsets WHERE reader = :reader;

-- name: relayed.raise
-- A poll's ballots were sent up to this seq. It never goes down.
INSERT INTO relayed (poll_id, seq) VALUES (:poll_id, :seq)
{{upsert(poll_id)}} seq = CASE WHEN {{new(seq)}} > relayed.seq THEN {{new(seq)}} ELSE relayed.seq END;

-- name: relayed.behind
-- Polls of which SQL has more than was sent, in chunks ordered by id.
SELECT polls.id, polls.seq, COALESCE(relayed.seq, 0) AS sent
FROM polls LEFT JOIN relayed ON relayed.poll_id = polls.id
WHERE polls.id > :after AND polls.seq > COALESCE(relayed.seq, 0) ORDER BY polls.id LIMIT :limit;

-- name: relayed.ballots
-- A poll's ballots from a seq on, in chunks ordered by voter.
SELECT poll_id, voter_id, n, ballot_id, choices, seq, epoch, cast_at, accepted, earlier
FROM ballots WHERE poll_id = :poll_id AND voter_id > :voter_id AND seq >= :seq ORDER BY voter_id LIMIT :limit;

-- name: relayed.clear
-- As if nothing had ever been sent.
DELETE FROM relayed;
