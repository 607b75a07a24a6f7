-- Records the commitment of a closed verifiable poll. The first one stays. KEYS[3..5]: poll, counts, ballots.
-- ARGV[3]: poll id, ARGV[4]: commitment. Answers {'absent'} (it is loaded with the commitment that SQL has), {'stale'},
-- {'busy'} while it is being loaded or not closed, {'NOT_FOUND'} if it is deleted, or {'ok', state}.

local poll = fetch(ARGV[3], KEYS[3], KEYS[4], KEYS[5])
if poll.absent then return cmsgpack.pack({poll.leased and 'busy' or 'absent'}) end
if poll.stale then return cmsgpack.pack({'stale'}) end
if poll.deleted then return cmsgpack.pack({'NOT_FOUND'}) end
apply_schedule(poll)
if poll.closed == 0 then return cmsgpack.pack({'busy'}) end
if commitment(poll) == '' then
  redis.call('HSET', poll.key, 'commitment', ARGV[4])
  change(poll, 'edit', now)
  save(poll)
  publish(poll)
end
return cmsgpack.pack({'ok', state(poll)})
