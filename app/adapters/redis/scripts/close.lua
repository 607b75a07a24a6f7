-- Closes a poll now. KEYS[3..5]: poll, counts, ballots. ARGV[3]: poll id.
-- Answers {'absent'}, {'POLL_NOT_OPEN'}, {'NOT_FOUND'} or {'ok', state}. Idempotent.

local poll = fetch(ARGV[3], KEYS[3], KEYS[4], KEYS[5])
if poll.absent or poll.stale then return cmsgpack.pack({'absent'}) end
if poll.deleted then return cmsgpack.pack({'NOT_FOUND'}) end
apply_schedule(poll)
if poll.closed == 0 then
  if not poll.opened then return cmsgpack.pack({'POLL_NOT_OPEN'}) end
  poll.closes, poll.closed = now, now
  change(poll, 'close', now)
  save(poll)
  publish(poll)
end
return cmsgpack.pack({'ok', state(poll)})
