-- Which Redis server holds each partition of the ledger now.
-- run: run ID of the server that was verified last. renewal: random, written every 2 seconds while its fence is valid.
CREATE TABLE IF NOT EXISTS ledger_partitions (
    `partition` BIGINT NOT NULL PRIMARY KEY,
    run {{id}} NOT NULL,
    renewal {{id}} NOT NULL
) {{table}};
