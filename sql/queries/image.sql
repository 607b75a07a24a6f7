-- name: image.insert
-- An image whose files are about to be stored.
INSERT INTO images (id, owner_id, bytes) VALUES (:id, :owner_id, :bytes);

-- name: image.bytes_of_owner
-- What a user's images take.
SELECT COALESCE(SUM(bytes), 0) AS bytes FROM images WHERE owner_id = :owner_id;

-- name: image.delete
-- An image whose files are gone.
DELETE FROM images WHERE id = :id;
