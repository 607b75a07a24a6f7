-- Prepended to every script that is not marked otherwise, after `run`.
-- KEYS[1] fence of the partition, KEYS[2] its log; ARGV[1] generation, ARGV[2] PUBLISH or SPUBLISH.
-- Answers are msgpack arrays whose first element is a status word. Redis does not roll back: a script validates everything
-- before its first write. Times are milliseconds since the epoch, 0 for none.

local fence = redis.call('HMGET', KEYS[1], 'run', 'generation')
if fence[1] ~= run or fence[2] ~= ARGV[1] then
  -- The generation that another process has verified, or 0 if nobody has.
  return cmsgpack.pack({'fenced', fence[1] == run and tonumber(fence[2]) or 0})
end

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local FIELDS = {'seq', 'version', 'owner', 'opens', 'closes', 'opened', 'closed', 'deleted', 'rules', 'options', 'accepted',
  'hold', 'held_until'}

-- Versions before 1.0 have the rules as three fields, which `install_rules` still writes for them. They do not know the field
-- `rules`: after an edit there it is of an earlier version of the poll.
local ALLOW_CHANGE, GUESTS, DRAFT, PAUSED = 1, 2, 4, 8

local function rules_before_1_0(key, version)
  local v = redis.call('HMGET', key, 'flags', 'min', 'max')
  local flags = tonumber(v[1])
  return {version = version, kind = 'choice', min_choices = tonumber(v[2]), max_choices = tonumber(v[3]),
    allow_change = bit.band(flags, ALLOW_CHANGE) > 0, guests = bit.band(flags, GUESTS) > 0,
    draft = bit.band(flags, DRAFT) > 0, paused = bit.band(flags, PAUSED) > 0}
end

local function flags_before_1_0(rules)
  return (rules.allow_change and ALLOW_CHANGE or 0) + (rules.guests and GUESTS or 0) + (rules.draft and DRAFT or 0)
    + (rules.paused and PAUSED or 0)
end

-- poll.rules has the names of LEDGER_RULES in domain/polls.py.
local function fetch(id, key, counts, ballots)
  local v = redis.call('HMGET', key, unpack(FIELDS))
  local poll = {id = id, key = key, counts = counts, ballots = ballots}
  if v[12] then
    -- An expired lease: its edit may be committed in SQL. The rules here are not used until they are installed again.
    poll.token, poll.stale = v[12], tonumber(v[13]) <= now
    if not poll.stale then poll.leased = v[12] end
  end
  if not v[1] then
    poll.absent = true
    return poll
  end
  poll.seq, poll.version, poll.owner = tonumber(v[1]), tonumber(v[2]), v[3]
  poll.opens, poll.closes, poll.opened = tonumber(v[4]), tonumber(v[5]), v[6] == '1'
  poll.closed, poll.deleted = tonumber(v[7]), v[8] == '1'
  poll.options, poll.accepted = v[10], v[11] == '1'
  poll.rules = v[9] and cmsgpack.unpack(v[9])
  if not poll.rules or poll.rules.version ~= poll.version then poll.rules = rules_before_1_0(key, poll.version) end
  return poll
end

local function log(poll, entry)
  poll.last = redis.call('XADD', KEYS[2], '*', 'e', cmsgpack.pack(entry))
end

-- A change of the poll: increments seq and appends a log entry.
local function change(poll, kind, at)
  poll.seq = poll.seq + 1
  log(poll, {'p', kind, poll.id, poll.seq, at})
end

local function save(poll)
  redis.call('HSET', poll.key, 'seq', poll.seq, 'opens', poll.opens, 'closes', poll.closes, 'opened',
    poll.opened and '1' or '0', 'closed', poll.closed, 'deleted', poll.deleted and '1' or '0', 'last', poll.last,
    'logged', ARGV[1])
end

-- The commitment of a verifiable poll: only a closed one has it, so votes do not pay for it.
local function commitment(poll)
  return poll.closed > 0 and redis.call('HGET', poll.key, 'commitment') or ''
end

local function state(poll)
  return {now, tonumber(ARGV[1]), poll.seq, poll.version, poll.owner, poll.opens, poll.closes, poll.opened, poll.closed,
    poll.deleted, poll.rules.draft, poll.accepted, redis.call('HGETALL', poll.counts), commitment(poll)}
end

local function publish(poll)
  local channel = string.match(KEYS[1], '^{%w+}') .. ':feed:' .. poll.id
  redis.call(ARGV[2], channel, cmsgpack.pack(state(poll)))
end

-- Opens and closes the poll when due. A clock that steps back undoes neither.
local function apply_schedule(poll)
  if poll.absent or poll.deleted or poll.rules.draft or poll.closed > 0 then return end
  local before = poll.seq
  if not poll.opened and poll.opens <= now then
    poll.opened = true
    change(poll, 'open', poll.opens)
  end
  if poll.opened and poll.closes > 0 and poll.closes <= now then
    poll.closed = poll.closes
    change(poll, 'close', poll.closed)
  end
  if poll.seq > before then
    save(poll)
    publish(poll)
  end
end

local function names(poll)
  if not poll.names then
    poll.names, poll.index = {}, {}
    for name in string.gmatch(poll.options, '[^,]+') do
      poll.names[#poll.names + 1] = name
      poll.index[name] = #poll.names
    end
  end
  return poll.names
end

-- A ballot as stored: {n, id, choices, seq, at, accepted, earlier}; choices are positions of options (which no longer
-- change once a vote was accepted), empty for a retraction; earlier: {id, choices, seq, at} each, 63 at most.
local N, ID, CHOICES, SEQ, AT, ACCEPTED, EARLIER = 1, 2, 3, 4, 5, 6, 7

local function chosen(poll, positions)
  local known, result = names(poll), {}
  for i, position in ipairs(positions) do result[i] = known[position] end
  return result
end
