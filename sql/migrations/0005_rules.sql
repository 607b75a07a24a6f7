-- Rules of a poll that have no column: a JSON object without defaults, null if there are none.
ALTER TABLE polls ADD COLUMN rules TEXT;
