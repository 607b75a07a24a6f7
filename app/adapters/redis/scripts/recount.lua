-- Counts the ballots of a poll again. KEYS[3..5]: poll, counts, ballots. ARGV[3]: poll id.
-- Blocks Redis for about one second per million ballots: for repair, not for a schedule. Answers {'absent'} or {'ok', state}.

local poll = fetch(ARGV[3], KEYS[3], KEYS[4], KEYS[5])
if poll.absent or poll.stale then return cmsgpack.pack({'absent'}) end
local counts, cursor = {voters = 0}, '0'
repeat
  local page = redis.call('HSCAN', poll.ballots, cursor, 'COUNT', 1000)
  cursor = page[1]
  for i = 2, #page[2], 2 do
    KINDS[poll.rules.kind].totals(poll, cmsgpack.unpack(page[2][i])[CHOICES], 1, counts)
  end
until cursor == '0'
redis.call('DEL', poll.counts)
for name, n in pairs(counts) do redis.call('HSET', poll.counts, name, n) end
change(poll, 'edit', now)
save(poll)
publish(poll)
return cmsgpack.pack({'ok', state(poll)})
