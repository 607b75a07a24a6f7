-- Prefixed to scripts that look at the fence: the server's name, a new one with every start.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
