-- Marks a poll as deleted. Its ballots stay for the log. KEYS[3..5]: poll, counts, ballots. ARGV[3]: poll id.
-- Answers {'absent'} or {'ok', state}.

local poll = fetch(ARGV[3], KEYS[3], KEYS[4], KEYS[5])
if poll.absent or poll.stale then return cmsgpack.pack({'absent'}) end
if not poll.deleted then
  poll.deleted = true
  change(poll, 'delete', now)
  save(poll)
  publish(poll)
end
return cmsgpack.pack({'ok', state(poll)})
