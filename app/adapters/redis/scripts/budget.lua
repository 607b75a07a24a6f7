-- GCRA: one call of a budget. No prelude.
-- KEYS: the budget's key. ARGV[1]: microseconds per call, ARGV[2]: calls of a burst.
-- Answers the microseconds to wait, 0 if the call is allowed.
local time = redis.call('TIME')
local now, interval = tonumber(time[1]) * 1000000 + tonumber(time[2]), tonumber(ARGV[1])
local arrival = math.max(tonumber(redis.call('HGET', KEYS[1], 'arrival') or now), now) + interval
local wait = arrival - tonumber(ARGV[2]) * interval - now
if wait > 0 then return math.ceil(wait) end
redis.call('HSET', KEYS[1], 'arrival', string.format('%.0f', arrival))
redis.call('PEXPIRE', KEYS[1], math.ceil((arrival - now) / 1000))
return 0
