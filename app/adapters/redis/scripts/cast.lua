-- Decides a batch of ballots in order.
-- KEYS from 3 on: poll, counts, ballots of each poll. ARGV[3]: the deadline of the batch.
-- ARGV[4]: msgpack {poll ids, ballots}, each ballot is {poll id, voter, guest, id, retract, option ids};
-- guest is false, true, or 'proven' for a guest who solved a challenge.
-- Answers {'late', now}, or {'ok', now, answers}: {'ok', seq}, {'again', seq, at, option ids}, {'leased'}, {'absent'}
-- or {code}, one per ballot. The contract defines the order of checks.

if now > tonumber(ARGV[3]) then return cmsgpack.pack({'late', now}) end

local batch = cmsgpack.unpack(ARGV[4])
local polls, of_id, answers = {}, {}, {}

for i, id in ipairs(batch[1]) do
  local poll = fetch(id, KEYS[3 * i], KEYS[3 * i + 1], KEYS[3 * i + 2])
  apply_schedule(poll)
  poll.asked, poll.records, poll.written, poll.delta, poll.entries = {}, {}, {}, {}, {}
  polls[i], of_id[id] = poll, poll
end

for _, ballot in ipairs(batch[2]) do
  local poll = of_id[ballot[1]]
  if not poll.absent then table.insert(poll.asked, ballot[2]) end
end
for _, poll in ipairs(polls) do
  if #poll.asked > 0 then
    for i, packed in ipairs(redis.call('HMGET', poll.ballots, unpack(poll.asked))) do
      poll.records[poll.asked[i]] = packed and cmsgpack.unpack(packed) or nil
    end
  end
end

-- Of ballots in a verifiable poll: ids that nobody can guess hide who voted.
local SHORTEST_ID = 22

local function known(record, id)
  if not record then return nil end
  if record[ID] == id then return {id, record[CHOICES], record[SEQ], record[AT]} end
  for _, first in ipairs(record[EARLIER]) do
    if first[1] == id then return first end
  end
end

local function cast(poll, voter, guest, id, retract, wanted)
  if poll.leased then return {'leased'} end
  if poll.absent or poll.stale then return {'absent'} end
  if poll.deleted or (poll.rules.draft and poll.owner ~= voter) then return {'NOT_FOUND'} end
  if guest and not poll.rules.guests then return {'FORBIDDEN'} end
  if guest == true and poll.rules.guest_challenge then return {'CHALLENGE_REQUIRED'} end
  local kind, rules, record = KINDS[poll.rules.kind], poll.rules, poll.records[voter]
  if rules.verifiable and not retract and #id < SHORTEST_ID then return {'VALIDATION_FAILED'} end
  local first = known(record, id)
  if first then
    if retract ~= (#first[2] == 0) or not kind.same(poll, first[2], wanted) then return {'BALLOT_ID_REUSED'} end
    return {'again', first[3], first[4], chosen(poll, first[2])}
  end
  if poll.closed > 0 then return {'POLL_CLOSED'} end
  if not poll.opened then return {'POLL_NOT_OPEN'} end
  if rules.paused then return {'POLL_PAUSED'} end
  local choices, refusal = {}, nil
  if not retract then
    choices, refusal = kind.validate(poll, wanted)
    if refusal then return {refusal} end
    if record and record[ACCEPTED] == 1 and not rules.allow_change then return {'ALREADY_VOTED'} end
  elseif not rules.allow_change then
    return {'CHANGE_NOT_ALLOWED'}
  end
  if record and record[N] >= 64 then return {'CHANGE_LIMIT'} end

  local standing, earlier = record and record[CHOICES] or {}, {}
  if record then
    for i, past in ipairs(record[EARLIER]) do earlier[i] = past end
    earlier[#earlier + 1] = {record[ID], record[CHOICES], record[SEQ], record[AT]}
  end
  if not retract or #standing > 0 then poll.seq = poll.seq + 1 end
  if record then kind.totals(poll, standing, -1, poll.delta) end
  kind.totals(poll, choices, 1, poll.delta)
  local accepted = (not retract or (record and record[ACCEPTED] == 1)) and 1 or 0
  if accepted == 1 then poll.accepted = true end
  record = {record and record[N] + 1 or 1, id, choices, poll.seq, now, accepted, earlier}
  poll.records[voter], poll.written[voter] = record, true

  local past = {}
  for i, e in ipairs(earlier) do past[i] = {e[1], #e[2] == 0, chosen(poll, e[2]), e[3], e[4]} end
  table.insert(poll.entries, {'b', poll.id, voter, record[N], id, retract, chosen(poll, choices), poll.seq, now,
    accepted == 1, past})
  return {'ok', poll.seq}
end

for i, ballot in ipairs(batch[2]) do
  answers[i] = cast(of_id[ballot[1]], ballot[2], ballot[3], ballot[4], ballot[5], ballot[6])
end

for _, poll in ipairs(polls) do
  if #poll.entries > 0 then
    for _, entry in ipairs(poll.entries) do log(poll, entry) end
    local packed = {}
    for voter in pairs(poll.written) do
      packed[#packed + 1] = voter
      packed[#packed + 1] = cmsgpack.pack(poll.records[voter])
    end
    redis.call('HSET', poll.ballots, unpack(packed))
    for name, n in pairs(poll.delta) do
      if n ~= 0 then redis.call('HINCRBY', poll.counts, name, n) end
    end
    redis.call('HSET', poll.key, 'seq', poll.seq, 'last', poll.last, 'logged', ARGV[1], 'accepted',
      poll.accepted and '1' or '0')
    publish(poll)
  end
end

return cmsgpack.pack({'ok', now, answers})
