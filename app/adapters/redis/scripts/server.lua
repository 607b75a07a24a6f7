-- Prepended to scripts that use the fence: the run ID of the server, which changes with every start.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
