-- Installs rules and ends a lease, or only releases it. KEYS[3..6]: poll, counts, ballots, temporary key of loaded ballots.
-- ARGV[3]: poll id, ARGV[4]: token, ARGV[5]: '' to release, otherwise msgpack
-- {version, owner, opens, closes, flags, min, max, option ids, seq, closed, new times, counts, accepted}; counts: {name, n, …}
-- of the loaded ballots, with voters, or false without them.
-- A closed poll keeps its times: late is true if the rules were to change them.
-- Answers {'busy'} if the lease was lost, {'ok', state, late}, or {'ok', false, false} after releasing an absent poll.

local poll = fetch(ARGV[3], KEYS[3], KEYS[4], KEYS[5])
if ARGV[5] == '' then
  if poll.token == ARGV[4] then
    redis.call('HDEL', poll.key, 'hold', 'held_until')
  end
  return cmsgpack.pack({'ok', not poll.absent and state(poll), false})
end

local rules = cmsgpack.unpack(ARGV[5])
if poll.token ~= ARGV[4] then
  -- A retry whose first reply was lost.
  if not poll.absent and poll.version == rules[1] then
    local late = rules[11] and poll.closed > 0 and poll.closes ~= rules[4]
    return cmsgpack.pack({'ok', state(poll), late})
  end
  return cmsgpack.pack({'busy'})
end

settle(poll)
local fresh, late = poll.absent, false
if fresh and rules[12] and redis.call('EXISTS', KEYS[6]) == 0 then return cmsgpack.pack({'busy'}) end
if fresh then
  poll.absent, poll.seq, poll.opened, poll.closed, poll.deleted = nil, rules[9], false, rules[10], false
  poll.accepted = rules[13]
  redis.call('DEL', poll.counts, poll.ballots)
  if rules[12] then
    redis.call('RENAME', KEYS[6], poll.ballots)
    redis.call('PERSIST', poll.ballots)
    redis.call('HSET', poll.counts, unpack(rules[12]))
  end
end
if fresh or poll.version ~= rules[1] then
  poll.version, poll.owner = rules[1], rules[2]
  if poll.closed == 0 or fresh then
    poll.opens, poll.closes = rules[3], poll.closed > 0 and poll.closed or rules[4]
  else
    late = rules[11]
  end
  poll.draft = bit.band(rules[5], DRAFT) > 0
  poll.opened = poll.opened or poll.closed > 0 or (not poll.draft and poll.opens <= now)
  change(poll, 'edit', now)
  save(poll)
  redis.call('HSET', poll.key, 'version', rules[1], 'owner', rules[2], 'flags', rules[5], 'min', rules[6], 'max',
    rules[7], 'options', table.concat(rules[8], ','), 'accepted', poll.accepted and '1' or '0')
  publish(poll)
end
redis.call('HDEL', poll.key, 'hold', 'held_until')
redis.call('PERSIST', poll.key)
settle(poll)
return cmsgpack.pack({'ok', state(poll), late})
