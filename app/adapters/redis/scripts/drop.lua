-- Removes a poll that is older than its copy in SQL, unless the fence is valid for this server. No prelude but
-- `run`.
-- KEYS: fence, poll, counts, ballots. ARGV[1]: SQL's seq. Answers 1 or 0.

if redis.call('HGET', KEYS[1], 'run') == run then return 0 end
local seq = redis.call('HGET', KEYS[2], 'seq')
if seq and tonumber(seq) >= tonumber(ARGV[1]) then return 0 end
return redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[4]) > 0 and 1 or 0
