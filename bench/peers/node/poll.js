// What a poll server must do for a vote, in three ways: check, one vote per user, count, log entry.
"use strict";
const { createHmac, timingSafeEqual } = require("node:crypto");
const Redis = require("ioredis");

const SECRET = process.env.JWT_SECRET;
const key = (kind, id) => `peer:{p}:${kind}:${id}`;
const LOG = "peer:{p}:log";

// HS256, as jsonwebtoken does it.
function userOf(token) {
  const [head, body, signature] = token.split(".");
  const expected = createHmac("sha256", SECRET).update(`${head}.${body}`).digest();
  if (!timingSafeEqual(Buffer.from(signature, "base64url"), expected)) throw new Error("UNAUTHENTICATED");
  const claims = JSON.parse(Buffer.from(body, "base64url").toString());
  if (claims.exp * 1000 < Date.now()) throw new Error("TOKEN_EXPIRED");
  return claims.sub;
}

// One ballot, all keys of one poll: answers seq, 0 where the user has voted.
const CAST = `
if redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
redis.call('HINCRBY', KEYS[2], ARGV[2], 1)
local seq = redis.call('HINCRBY', KEYS[2], 'seq', 1)
redis.call('XADD', KEYS[3], '*', 'poll', ARGV[3], 'user', ARGV[1], 'option', ARGV[2], 'id', ARGV[4])
return seq`;

// Many ballots: ARGV {poll, user, option, id}…, answers one seq each.
const CAST_MANY = `
local answers = {}
for i = 1, #ARGV, 4 do
  local poll, user, option = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if redis.call('HSETNX', 'peer:{p}:votes:' .. poll, user, option) == 0 then
    answers[#answers + 1] = 0
  else
    redis.call('HINCRBY', 'peer:{p}:counts:' .. poll, option, 1)
    answers[#answers + 1] = redis.call('HINCRBY', 'peer:{p}:counts:' .. poll, 'seq', 1)
    redis.call('XADD', KEYS[1], '*', 'poll', poll, 'user', user, 'option', option, 'id', ARGV[i + 3])
  end
end
return answers`;

class Polls {
  constructor(way) {
    this.redis = new Redis(process.env.REDIS_URL, { enableAutoPipelining: way === "pipelined" });
    this.redis.defineCommand("castOne", { numberOfKeys: 3, lua: CAST });
    this.redis.defineCommand("castMany", { numberOfKeys: 1, lua: CAST_MANY });
    this.known = new Map();
    this.cast = { plain: this.castPlain, pipelined: this.castScript, batching: this.castBatched }[way];
    this.queue = [];
    this.busy = false;
  }

  // The rules of a poll do not change here: read once.
  async find(id) {
    let poll = this.known.get(id);
    if (!poll) {
      const fields = await this.redis.hgetall(key("poll", id));
      if (!fields.options) throw new Error("NOT_FOUND");
      poll = { id, options: new Set(fields.options.split(",")), closes: Number(fields.closes) };
      this.known.set(id, poll);
    }
    return poll;
  }

  async check(message) {
    const poll = this.known.get(message.pollId) || (await this.find(message.pollId));
    if (poll.closes && poll.closes < Date.now()) throw new Error("POLL_CLOSED");
    if (!poll.options.has(message.optionId)) throw new Error("INVALID_OPTION");
    return poll;
  }

  // As the documentation teaches: one command, then a transaction.
  async castPlain(user, message) {
    const { pollId, optionId, id } = message;
    if (!(await this.redis.hsetnx(key("votes", pollId), user, optionId))) throw new Error("ALREADY_VOTED");
    const results = await this.redis
      .multi()
      .hincrby(key("counts", pollId), optionId, 1)
      .hincrby(key("counts", pollId), "seq", 1)
      .xadd(LOG, "*", "poll", pollId, "user", user, "option", optionId, "id", id)
      .exec();
    return results[1][1];
  }

  async castScript(user, message) {
    const { pollId, optionId, id } = message;
    const seq = await this.redis.castOne(key("votes", pollId), key("counts", pollId), LOG, user, optionId, pollId, id);
    if (!seq) throw new Error("ALREADY_VOTED");
    return seq;
  }

  // As Pollroom does: what arrives together goes as one call, one call under way, at most 256 in it.
  castBatched(user, message) {
    return new Promise((resolve, reject) => {
      this.queue.push({ user, message, resolve, reject });
      if (!this.busy) {
        this.busy = true;
        setImmediate(() => this.deliver());
      }
    });
  }

  async deliver() {
    while (this.queue.length) {
      const batch = this.queue.splice(0, 256);
      const words = [];
      for (const { user, message } of batch) words.push(message.pollId, user, message.optionId, message.id);
      try {
        const seqs = await this.redis.castMany(LOG, words);
        batch.forEach((one, i) => (seqs[i] ? one.resolve(seqs[i]) : one.reject(new Error("ALREADY_VOTED"))));
      } catch (error) {
        batch.forEach((one) => one.reject(error));
      }
    }
    this.busy = false;
  }

  async tally(id) {
    const counts = await this.redis.hgetall(key("counts", id));
    const seq = Number(counts.seq || 0);
    delete counts.seq;
    let voters = 0;
    for (const option of Object.keys(counts)) voters += counts[option] = Number(counts[option]);
    return { epoch: 1, seq, voters, final: false, counts };
  }
}

module.exports = { Polls, userOf };
