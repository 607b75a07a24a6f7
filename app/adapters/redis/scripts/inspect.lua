-- Reads the fence and the run ID of the server. No prelude but `run`.
-- KEYS[1]: fence. Answers {run ID, run ID in the fence, generation, last entry trimmed, ID of the deployment, layout},
-- with false for missing fields.

local fence = redis.call('HMGET', KEYS[1], 'run', 'generation', 'trimmed', 'ledger', 'layout')
return cmsgpack.pack({run, fence[1], fence[2], fence[3], fence[4], fence[5]})
