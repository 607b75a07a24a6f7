-- In place of `server.lua` in a cluster: a new name with every start and with every promotion, too. A master that became a
-- replica and is promoted again runs as before, but holds what the other one had.
local run = redis.sha1hex(string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  .. string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)'))
