-- Several polls under one code. moving_since: a move whose row is written and whose polls are not yet closed and opened,
-- move_from to current_id; move_closes, move_opens: what is left to do. Whoever finds it old finishes it.
CREATE TABLE IF NOT EXISTS decks (
    id {{id}} NOT NULL PRIMARY KEY,
    code {{id}} NOT NULL UNIQUE,
    owner_id {{id}} NOT NULL,
    request_key {{bytes(255)}},
    title VARCHAR(200) NOT NULL,
    version BIGINT NOT NULL,
    current_id {{id}},
    created_at BIGINT NOT NULL,
    ended_at BIGINT,
    moving_since BIGINT,
    move_from {{id}},
    move_closes SMALLINT NOT NULL,
    move_opens SMALLINT NOT NULL,
    UNIQUE (owner_id, request_key)
) {{table}};

CREATE INDEX decks_owner ON decks (owner_id, id);

CREATE INDEX decks_moving ON decks (moving_since);

-- deck_shown: the poll is or was the deck's current one.
ALTER TABLE polls ADD COLUMN deck_id {{id}};

ALTER TABLE polls ADD COLUMN deck_position SMALLINT NOT NULL DEFAULT 0;

ALTER TABLE polls ADD COLUMN deck_shown SMALLINT NOT NULL DEFAULT 0;

CREATE INDEX polls_deck ON polls (deck_id, deck_position);
