-- Expires a lease whose reply was lost. It may have replaced a lease that was never ended, so the poll is stale until its
-- rules are installed again, as after any expired lease.
-- KEYS[3..5]: poll, counts, ballots. ARGV[3]: poll id, ARGV[4]: token. Answers {'ok', now}.

local poll = fetch(ARGV[3], KEYS[3], KEYS[4], KEYS[5])
if poll.leased == ARGV[4] then redis.call('HSET', poll.key, 'held_until', now) end
return cmsgpack.pack({'ok', now})
