-- Replaces `server.lua` in a cluster: `run` changes with every start and every promotion. A master that became a replica and
-- is promoted again keeps its run ID, but has the data of the other master.
local run = redis.sha1hex(string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  .. string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)'))
