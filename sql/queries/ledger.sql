-- name: ledger.partition
-- Which server holds a partition, and the last renewal.
SELECT run, renewal FROM ledger_partitions WHERE `partition` = :partition;

-- name: ledger.renew
-- The fence of a partition is valid on this server.
INSERT INTO ledger_partitions (`partition`, run, renewal) VALUES (:partition, :run, :renewal)
{{upsert(`partition`)}} run = {{new(run)}}, renewal = {{new(renewal)}};

-- name: ledger.identity
-- The ID of the deployment and the layout of its data.
SELECT name, value FROM settings WHERE name IN ('ledger', 'layout');
