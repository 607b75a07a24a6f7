-- One row per verifiable poll, from its close on.
-- build: names its rows in commitment_chunks; null, as root, until all of them are written. published_at: in the ledger since.
CREATE TABLE IF NOT EXISTS commitments (
    poll_id {{id}} NOT NULL PRIMARY KEY,
    closed_at BIGINT NOT NULL,
    build {{id}},
    size BIGINT,
    root {{id}},
    terms {{id}},
    asked MEDIUMTEXT,
    checkpoint TEXT,
    published_at BIGINT
) {{table}};

CREATE INDEX commitments_due ON commitments (published_at, closed_at);

-- 1,024 nodes of a tree per row. Level 0: leaves, with their ballots as lines of CSV; last_leaf is the highest.
-- Level n: the roots of the rows of level n - 1.
CREATE TABLE IF NOT EXISTS commitment_chunks (
    build {{id}} NOT NULL,
    level SMALLINT NOT NULL,
    position BIGINT NOT NULL,
    poll_id {{id}} NOT NULL,
    last_leaf {{id}},
    nodes MEDIUMTEXT NOT NULL,
    ballots MEDIUMTEXT NOT NULL,
    PRIMARY KEY (build, level, position)
) {{table}};

CREATE INDEX commitment_chunks_leaf ON commitment_chunks (build, level, last_leaf);

CREATE INDEX commitment_chunks_poll ON commitment_chunks (poll_id, build);

-- The public keys that ever signed. id: SHA-256 of verifier_key, in hex.
CREATE TABLE IF NOT EXISTS commitment_keys (
    id {{id}} NOT NULL PRIMARY KEY,
    verifier_key VARCHAR(255) NOT NULL,
    since BIGINT NOT NULL
) {{table}};
