// node-redis runs the common script: `node node-redis.mjs PROTOCOL <cases >replies`, a line of JSON each; see ../README.md.

import { createClient, RESP_TYPES } from "@redis/client";
import { protocol, runAll, toSend, versionIn } from "./words.mjs";

async function connect(port, password) {
  const client = createClient({
    socket: { host: "127.0.0.1", port, reconnectStrategy: false },
    RESP: protocol,
    password,
    commandOptions: { typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer } },
  });
  // Each failure is also the result of the call that met it.
  client.on("error", () => {});
  await client.connect();
  return [client, () => client.destroy()];
}

// How this client spells what differs.
const own = {
  setex: (on, key, seconds, value) => on.setEx(key, seconds, value),
  psetex: (on, key, milliseconds, value) => on.pSetEx(key, milliseconds, value),
  setnx: (on, key, value) => on.setNX(key, value),
  getdel: (on, key) => on.getDel(key),
  getrange: (on, ...words) => on.getRange(...words),
  strlen: (on, key) => on.strLen(key),
  dbsize: (on) => on.dbSize(),
  pttl: (on, key) => on.pTTL(key),
  mget: (on, ...keys) => on.mGet(keys),
  mset: (on, ...words) => on.mSet(words),
  delete: (on, ...keys) => on.del(keys),
  unlink: (on, ...keys) => on.unlink(keys),
  exists: (on, ...keys) => on.exists(keys),
  touch: (on, ...keys) => on.touch(keys),
  expire: (on, key, seconds, { nx, xx, gt, lt } = {}) =>
    on.expire(key, Number(seconds), nx ? "NX" : xx ? "XX" : gt ? "GT" : lt ? "LT" : undefined),
  pexpire: (on, key, milliseconds) => on.pExpire(key, milliseconds),
  expireat: (on, key, second) => on.expireAt(key, second),
  pexpireat: (on, key, millisecond) => on.pExpireAt(key, millisecond),
  expiretime: (on, key) => on.expireTime(key),
  pexpiretime: (on, key) => on.pExpireTime(key),
  getex(on, key, { ex, px }) {
    return on.getEx(key, ex ? { type: "EX", value: ex } : px ? { type: "PX", value: px } : { type: "PERSIST" });
  },
  flushall: (on) => on.flushAll(),
  flushdb: (on) => on.flushDb(),
  config_get: (on, name) => on.configGet(name),
  client_setname: (on, name) => on.clientSetName(name),
  client_getname: (on) => on.clientGetName(),
  set(on, key, value, { ex, px, keepttl, nx, xx, get } = {}) {
    const expiration = keepttl ? "KEEPTTL" : ex ? { type: "EX", value: ex } : px ? { type: "PX", value: px } : undefined;
    return on.set(key, value, { expiration, condition: nx ? "NX" : xx ? "XX" : undefined, GET: get });
  },
};

function call(on, [name, ...words]) {
  return own[name] ? own[name](on, ...words.map(toSend)) : on[name](...words.map(toSend));
}

async function run(client, step) {
  const [name, rest] = step;
  switch (name) {
    case "pipeline":
      return (await Promise.allSettled(rest.map((each) => call(client, each)))).map((one) => one.value ?? one.reason);
    case "transaction": {
      const multi = client.multi();
      for (const each of rest) call(multi, each);
      return multi.exec().catch((error) => error.replies ?? Promise.reject(error));
    }
    case "raw":
      return client.sendCommand(step.slice(1).map(toSend));
    case "scan": {
      const keys = [];
      for await (const some of client.scanIterator({ MATCH: rest.match, COUNT: rest.count })) keys.push(...some);
      return keys.map((key) => key.toString("latin1")).sort();
    }
    case "version":
      return versionIn(await client.info("server"));
    default:
      return call(client, step);
  }
}

await runAll(connect, run);
