-- Removes an idle poll whose log entries are all in SQL. KEYS[3..5]: poll, counts, ballots.
-- ARGV[3]: poll id, ARGV[4]: least idle time in seconds, ARGV[5], ARGV[6]: milliseconds and number of the
-- last entry that SQL has of this generation. Answers {'ok', 1} or {'ok', 0}.

if redis.call('EXISTS', KEYS[3]) == 0 then return cmsgpack.pack({'ok', 0}) end
-- Before any read of the poll, which would reset its idle time.
if redis.call('OBJECT', 'IDLETIME', KEYS[3]) < tonumber(ARGV[4]) then return cmsgpack.pack({'ok', 0}) end
local poll = fetch(ARGV[3], KEYS[3], KEYS[4], KEYS[5])
if poll.absent or poll.leased then return cmsgpack.pack({'ok', 0}) end
local last = redis.call('HMGET', KEYS[3], 'last', 'logged')
if last[2] == ARGV[1] then
  local ms, number = string.match(last[1], '(%d+)-(%d+)')
  ms, number = tonumber(ms), tonumber(number)
  local stored, nth = tonumber(ARGV[5]), tonumber(ARGV[6])
  if ms > stored or (ms == stored and number > nth) then return cmsgpack.pack({'ok', 0}) end
end
redis.call('UNLINK', KEYS[3], KEYS[4], KEYS[5])
return cmsgpack.pack({'ok', 1})
