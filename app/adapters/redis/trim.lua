-- Drops what every reader has from the log, and notes how far. No prelude.
-- KEYS: fence, log. ARGV[1]: the last entry to go, ARGV[2]: the first id that may stay, ARGV[3]: the log's generation.

redis.call('XTRIM', KEYS[2], 'MINID', ARGV[2])
if redis.call('HGET', KEYS[1], 'generation') == ARGV[3] then redis.call('HSET', KEYS[1], 'trimmed', ARGV[1]) end
return 1
