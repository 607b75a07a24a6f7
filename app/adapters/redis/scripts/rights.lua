-- Tries every command that the other scripts use. No prelude.
-- KEYS: two temporary keys of one partition, deleted at the end. ARGV: a channel.
-- Answers {command, error} for each command that failed.
local key, other, refused = KEYS[1], KEYS[2], {}
local function try(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then refused[#refused + 1] = {(...), reply.err} end
end
try('INFO', 'server')
try('TIME')
try('DEL', key, other)
try('HSET', key, 'field', '1', 'gone', '1')
try('HINCRBY', key, 'field', '1')
try('HGET', key, 'field')
try('HMGET', key, 'field')
try('HGETALL', key)
try('HSCAN', key, '0')
try('HDEL', key, 'gone')
try('EXISTS', key)
try('PEXPIRE', key, '60000')
try('PERSIST', key)
try('OBJECT', 'IDLETIME', key)
try('RENAME', key, other)
try('UNLINK', key, other)
try('XADD', key, '*', 'field', '1')
try('XTRIM', key, 'MAXLEN', '0')
try('PUBLISH', ARGV[1], '')
try('UNLINK', key)
return cmsgpack.pack(refused)
