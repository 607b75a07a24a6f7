// node worker.js: the log into SQL, a thousand entries a transaction, then trimmed.
"use strict";
const Redis = require("ioredis");
const mysql = require("mysql2/promise");

const LOG = "peer:{p}:log";

async function main() {
  const redis = new Redis(process.env.REDIS_URL);
  const sql = await mysql.createConnection(process.env.DATABASE_URL.replace("mysql+aiomysql:", "mysql:"));
  await sql.query(
    "CREATE TABLE IF NOT EXISTS peer_ballots (poll_id VARCHAR(26), user_id VARCHAR(26), option_id VARCHAR(26), " +
      "ballot_id VARCHAR(64), PRIMARY KEY (poll_id, user_id))",
  );
  await sql.query("TRUNCATE TABLE peer_ballots"); // the next peer's ballots are to be new, too
  let last = "0-0";
  for (;;) {
    const found = await redis.xread("COUNT", 1000, "BLOCK", 500, "STREAMS", LOG, last);
    if (!found) continue;
    const entries = found[0][1];
    const rows = entries.map(([, f]) => [f[1], f[3], f[5], f[7]]);
    await sql.query("INSERT IGNORE INTO peer_ballots (poll_id, user_id, option_id, ballot_id) VALUES ?", [rows]);
    last = entries[entries.length - 1][0];
    const [ms, n] = last.split("-");
    await redis.xtrim(LOG, "MINID", `${ms}-${Number(n) + 1}`);
  }
}

process.on("SIGTERM", () => process.exit(0));
main().catch((error) => {
  console.error(error);
  process.exit(1);
});
