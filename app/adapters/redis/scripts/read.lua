-- Returns the state of a poll and the current votes of some voters.
-- KEYS[3..5]: poll, counts, ballots. ARGV[3]: poll id, ARGV[4]: msgpack list of voters.
-- Answers {'absent'}, {'stale'} if its rules must be installed again, or {'ok', state, standings}: false or
-- {id, option ids, seq, at, accepted}, one per voter.

local poll = fetch(ARGV[3], KEYS[3], KEYS[4], KEYS[5])
if poll.absent then return cmsgpack.pack({'absent'}) end
if poll.stale then return cmsgpack.pack({'stale'}) end
apply_schedule(poll)
local standings, voters = {}, cmsgpack.unpack(ARGV[4])
if #voters > 0 then
  for i, packed in ipairs(redis.call('HMGET', poll.ballots, unpack(voters))) do
    local record = packed and cmsgpack.unpack(packed)
    standings[i] = record
      and {record[ID], chosen(poll, record[CHOICES]), record[SEQ], record[AT], record[ACCEPTED] == 1}
  end
end
return cmsgpack.pack({'ok', state(poll), standings})
