-- Ids, codes, hashes and keys: ASCII, compared byte by byte. Other text: binary collation of the table.
-- Times: milliseconds since the epoch, UTC. Booleans: SMALLINT. No foreign keys: ballots arrive through the log.
-- MySQL has no transactional DDL: each statement can be run again after a crash.

CREATE TABLE IF NOT EXISTS users (
    id {{id}} NOT NULL PRIMARY KEY,
    email VARCHAR(254) UNIQUE,
    password_hash VARCHAR(255),
    name VARCHAR(100),
    guest SMALLINT NOT NULL,
    created_at BIGINT NOT NULL
) {{table}};

CREATE TABLE IF NOT EXISTS sessions (
    id {{id}} NOT NULL PRIMARY KEY,
    user_id {{id}} NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT
) {{table}};

CREATE INDEX sessions_revoked ON sessions (revoked_at);

CREATE INDEX sessions_expires ON sessions (expires_at);

CREATE TABLE IF NOT EXISTS refresh_tokens (
    hash {{id}} NOT NULL PRIMARY KEY,
    session_id {{id}} NOT NULL,
    created_at BIGINT NOT NULL,
    spent_at BIGINT
) {{table}};

CREATE INDEX refresh_tokens_session ON refresh_tokens (session_id);

CREATE TABLE IF NOT EXISTS polls (
    id {{id}} NOT NULL PRIMARY KEY,
    code {{id}} NOT NULL UNIQUE,
    owner_id {{id}} NOT NULL,
    request_key {{bytes(255)}},
    version BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    question VARCHAR(300) NOT NULL,
    description TEXT,
    min_choices SMALLINT NOT NULL,
    max_choices SMALLINT NOT NULL,
    results_visibility {{id}} NOT NULL,
    allow_change SMALLINT NOT NULL,
    guests SMALLINT NOT NULL,
    draft SMALLINT NOT NULL,
    opens_at BIGINT,
    closes_at BIGINT,
    closed_at BIGINT,
    deleted_at BIGINT,
    created_at BIGINT NOT NULL,
    UNIQUE (owner_id, request_key)
) {{table}};

CREATE INDEX polls_owner ON polls (owner_id, id);

-- The sweep asks for what is not closed yet: without closed_at in front it would walk every poll that ever closed.
CREATE INDEX polls_closes ON polls (closed_at, closes_at);

CREATE TABLE IF NOT EXISTS options (
    poll_id {{id}} NOT NULL,
    id {{id}} NOT NULL,
    position SMALLINT NOT NULL,
    label VARCHAR(200) NOT NULL,
    image VARCHAR(255),
    PRIMARY KEY (poll_id, id)
) {{table}};

CREATE TABLE IF NOT EXISTS ballots (
    poll_id {{id}} NOT NULL,
    voter_id {{id}} NOT NULL,
    n BIGINT NOT NULL,
    ballot_id {{id}} NOT NULL,
    choices TEXT NOT NULL,
    seq BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    cast_at BIGINT NOT NULL,
    accepted SMALLINT NOT NULL,
    earlier MEDIUMTEXT NOT NULL,
    PRIMARY KEY (poll_id, voter_id)
) {{table}};

-- fencing: run id of the Redis server that this partition was compared with and whose fence is being written.
CREATE TABLE IF NOT EXISTS log_offsets (
    reader {{id}} NOT NULL,
    `partition` BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    last_id {{id}} NOT NULL,
    fencing {{id}},
    lease_owner VARCHAR(100),
    lease_until BIGINT,
    PRIMARY KEY (reader, `partition`)
) {{table}};

CREATE TABLE IF NOT EXISTS dead_letters (
    id {{id}} NOT NULL PRIMARY KEY,
    poll_id {{id}} NOT NULL,
    `partition` BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    entry_id {{id}} NOT NULL,
    entry MEDIUMTEXT NOT NULL,
    error VARCHAR(500) NOT NULL,
    created_at BIGINT NOT NULL
) {{table}};

CREATE INDEX dead_letters_poll ON dead_letters (poll_id);

CREATE TABLE IF NOT EXISTS settings (
    name {{id}} NOT NULL PRIMARY KEY,
    value VARCHAR(255) NOT NULL
) {{table}};
