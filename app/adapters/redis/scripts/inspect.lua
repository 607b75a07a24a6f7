-- The fence, and the name of the server that holds it. No prelude but the server's name.
-- KEYS[1]: fence. Answers {run id now, run id in the fence, generation, last entry trimmed}, false for what is not there.

local fence = redis.call('HMGET', KEYS[1], 'run', 'generation', 'trimmed')
return cmsgpack.pack({run, fence[1], fence[2], fence[3]})
