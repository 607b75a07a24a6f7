-- Stops every script on the partition until it is verified again. No prelude.
-- KEYS[1]: fence. ARGV[1]: the generation that SQL no longer has. Answers 1, or 0 if the fence is of another generation.

if redis.call('HGET', KEYS[1], 'generation') ~= ARGV[1] then return 0 end
return redis.call('HDEL', KEYS[1], 'run')
