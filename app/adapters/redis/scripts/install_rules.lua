-- Installs rules and ends a lease, or only releases it. KEYS[3..6]: poll, counts, ballots, temporary key of loaded ballots.
-- ARGV[3]: poll id, ARGV[4]: token, ARGV[5]: '' to release, otherwise a msgpack map, see README.md.
-- A closed poll keeps its times: late is true if the rules were to change them.
-- Answers {'busy'} if the lease was lost, {'ok', state, late}, or {'ok', false, false} after releasing an absent poll.

local poll = fetch(ARGV[3], KEYS[3], KEYS[4], KEYS[5])
if ARGV[5] == '' then
  if poll.token == ARGV[4] then
    redis.call('HDEL', poll.key, 'hold', 'held_until')
  end
  return cmsgpack.pack({'ok', not poll.absent and state(poll), false})
end

local new = cmsgpack.unpack(ARGV[5])
local version, loaded = new.rules.version, new.loaded
if poll.token ~= ARGV[4] then
  -- A retry whose first reply was lost.
  if not poll.absent and poll.version == version then
    local late = new.new_times and poll.closed > 0 and poll.closes ~= new.closes
    return cmsgpack.pack({'ok', state(poll), late})
  end
  return cmsgpack.pack({'busy'})
end

apply_schedule(poll)
local fresh, late = poll.absent, false
if fresh and loaded and redis.call('EXISTS', KEYS[6]) == 0 then return cmsgpack.pack({'busy'}) end
if fresh then
  poll.absent, poll.seq, poll.opened, poll.closed, poll.deleted = nil, new.seq, false, new.closed, false
  poll.accepted = loaded and loaded.accepted or false
  redis.call('DEL', poll.counts, poll.ballots)
  if loaded then
    redis.call('RENAME', KEYS[6], poll.ballots)
    redis.call('PERSIST', poll.ballots)
    for name, n in pairs(loaded.counts) do redis.call('HSET', poll.counts, name, n) end
  end
  if new.commitment ~= '' then redis.call('HSET', poll.key, 'commitment', new.commitment) end
end
if fresh or poll.version ~= version then
  poll.version, poll.owner, poll.rules = version, new.owner, new.rules
  if poll.closed == 0 or fresh then
    poll.opens, poll.closes = new.opens, poll.closed > 0 and poll.closed or new.closes
  else
    late = new.new_times
  end
  poll.opened = poll.opened or poll.closed > 0 or (not poll.rules.draft and poll.opens <= now)
  change(poll, 'edit', now)
  save(poll)
  redis.call('HSET', poll.key, 'version', version, 'owner', poll.owner, 'rules', cmsgpack.pack(poll.rules), 'options',
    table.concat(new.options, ','), 'accepted', poll.accepted and '1' or '0', 'flags', flags_before_1_0(poll.rules), 'min',
    poll.rules.min_choices, 'max', poll.rules.max_choices)
  publish(poll)
end
redis.call('HDEL', poll.key, 'hold', 'held_until')
redis.call('PERSIST', poll.key)
apply_schedule(poll)
return cmsgpack.pack({'ok', state(poll), late})
