-- Leases a poll for an edit or for loading. KEYS[3..5]: poll, counts, ballots.
-- ARGV[3]: poll id, ARGV[4]: token, ARGV[5]: lease in milliseconds.
-- Answers {'busy'} or {'ok', now, state}, with false as the state of an absent poll.

local poll = fetch(ARGV[3], KEYS[3], KEYS[4], KEYS[5])
if poll.leased and poll.leased ~= ARGV[4] then return cmsgpack.pack({'busy'}) end
apply_schedule(poll)
redis.call('HSET', poll.key, 'hold', ARGV[4], 'held_until', now + ARGV[5])
if poll.absent then redis.call('PEXPIRE', poll.key, ARGV[5]) end
return cmsgpack.pack({'ok', now, not poll.absent and state(poll)})
