-- Marks the partition as verified, unless the server was restarted since the comparison. No prelude but `run`.
-- KEYS[1]: fence. ARGV[1]: run ID during the comparison, ARGV[2]: generation. Answers 1, or 0 after a restart.

if run ~= ARGV[1] then return 0 end
if redis.call('HGET', KEYS[1], 'generation') ~= ARGV[2] then redis.call('HDEL', KEYS[1], 'trimmed') end
redis.call('HSET', KEYS[1], 'run', ARGV[1], 'generation', ARGV[2])
return 1
