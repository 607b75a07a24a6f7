-- Ends a lease of which nobody knows whether it was taken. The hold may have replaced one that nobody ended: the poll
-- counts as absent until its rules are installed anew, as after any lease that ran out.
-- KEYS[3..5]: poll, counts, ballots. ARGV[3]: poll id, ARGV[4]: token. Answers {'ok', now}.

local poll = fetch(ARGV[3], KEYS[3], KEYS[4], KEYS[5])
if poll.hold == ARGV[4] then redis.call('HSET', poll.key, 'held_until', now) end
return cmsgpack.pack({'ok', now})
