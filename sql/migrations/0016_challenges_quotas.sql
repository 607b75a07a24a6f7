-- proven: the guest solved a challenge.
ALTER TABLE users ADD COLUMN proven SMALLINT NOT NULL DEFAULT 0;

-- Stored images of options, for the quota of their owner. Images of before count nothing.
CREATE TABLE images (
    id {{id}} NOT NULL PRIMARY KEY,
    owner_id {{id}} NOT NULL,
    bytes BIGINT NOT NULL
);

CREATE INDEX images_owner ON images (owner_id, bytes);
