-- Stores a chunk of ballots under a temporary key while the poll is leased and absent. Renews the lease.
-- KEYS[3..6]: poll, counts, ballots, temporary key. ARGV[3]: poll id, ARGV[4]: token, ARGV[5]: lease in milliseconds,
-- ARGV[6..]: voter, packed ballot, …; at most 2,000 ballots. Answers {'busy'} or {'ok', now}.

local poll = fetch(ARGV[3], KEYS[3], KEYS[4], KEYS[5])
if not poll.absent or poll.leased ~= ARGV[4] then return cmsgpack.pack({'busy'}) end
redis.call('HSET', KEYS[6], unpack(ARGV, 6))
redis.call('PEXPIRE', KEYS[6], 4 * ARGV[5])
redis.call('HSET', poll.key, 'held_until', now + ARGV[5])
redis.call('PEXPIRE', poll.key, ARGV[5])
return cmsgpack.pack({'ok', now})
