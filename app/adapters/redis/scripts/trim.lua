-- Trims log entries that every reader has, and records how far. Two callers may trim in either order. No prelude.
-- KEYS: fence, log. ARGV[1]: the last entry to remove, ARGV[2]: the first ID to keep, ARGV[3]: the log's generation.

redis.call('XTRIM', KEYS[2], 'MINID', ARGV[2])
local fence = redis.call('HMGET', KEYS[1], 'generation', 'trimmed')
if fence[1] ~= ARGV[3] then return 1 end
local ms, number = string.match(ARGV[1], '(%d+)-(%d+)')
local old_ms, old_number = string.match(fence[2] or '0-0', '(%d+)-(%d+)')
ms, number, old_ms, old_number = tonumber(ms), tonumber(number), tonumber(old_ms), tonumber(old_number)
if ms > old_ms or (ms == old_ms and number > old_number) then redis.call('HSET', KEYS[1], 'trimmed', ARGV[1]) end
return 1
