-- Marks the partition as verified, unless the server was restarted since the comparison. No prelude but `run`.
-- KEYS[1]: fence. ARGV[1]: run ID during the comparison, ARGV[2]: generation, ARGV[3]: ID of the deployment, ARGV[4]: layout.
-- Answers 1, or 0 after a restart.

if run ~= ARGV[1] then return 0 end
if redis.call('HGET', KEYS[1], 'generation') ~= ARGV[2] then redis.call('HDEL', KEYS[1], 'trimmed') end
redis.call('HSET', KEYS[1], 'run', ARGV[1], 'generation', ARGV[2], 'ledger', ARGV[3], 'layout', ARGV[4])
return 1
