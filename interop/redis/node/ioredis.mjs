// ioredis runs the common script: `node ioredis.mjs PROTOCOL <cases >replies`, a line of JSON each; see ../README.md.

import { Redis } from "ioredis";
import { protocol, runAll, toSend, told, versionIn } from "./words.mjs";

async function connect(port, password) {
  const client = new Redis({
    host: "127.0.0.1",
    port,
    protocol,
    password,
    lazyConnect: true,
    retryStrategy: null,
    maxRetriesPerRequest: 0,
  });
  let refused;
  client.on("error", (error) => (refused ??= error));
  await client.connect().catch((error) => Promise.reject(refused ?? error));
  if (refused) throw refused;
  return [client, () => client.disconnect()];
}

const spelled = { delete: "del", config_get: "config", client_setname: "client", client_getname: "client" };
const first = { config_get: "GET", client_setname: "SETNAME", client_getname: "GETNAME" };

// As options are written by this client's users: in the order of the command.
function optionsOf({ ex, px, keepttl, persist, nx, xx, gt, lt, get }) {
  const words = ex ? ["EX", ex] : px ? ["PX", px] : keepttl ? ["KEEPTTL"] : persist ? ["PERSIST"] : [];
  return [...words, ...conditionOf({ nx, xx, gt, lt }), ...(get ? ["GET"] : [])];
}

const conditionOf = (options) => Object.keys(options).filter((name) => options[name]).map((name) => name.toUpperCase());

function call(on, [name, ...words]) {
  const options = typeof words.at(-1) === "object" ? optionsOf(words.pop()) : [];
  const method = spelled[name] ?? name;
  // With bytes for a reply, where a reply may be bytes.
  const bytes = typeof on[`${method}Buffer`] === "function" ? `${method}Buffer` : method;
  return on[bytes](...(first[name] ? [first[name]] : []), ...words.map(toSend), ...options);
}

// Each reply stands beside the error that came in its place.
const both = (replies) => replies.map(([error, reply]) => error ?? reply);

async function run(client, step) {
  const [name, rest] = step;
  switch (name) {
    case "pipeline":
    case "transaction": {
      const pipeline = name === "pipeline" ? client.pipeline() : client.multi();
      for (const each of rest) call(pipeline, each);
      return both(await pipeline.exec());
    }
    case "raw":
      return client.callBuffer(step[1], ...step.slice(2).map(toSend));
    case "scan": {
      const keys = [];
      for await (const some of client.scanBufferStream(rest)) keys.push(...some);
      return keys.map((key) => key.toString("latin1")).sort();
    }
    case "version":
      return versionIn(await client.info("server"));
    case "config_get": {
      const [key, value] = told(await call(client, step));
      return { [key]: value };
    }
    default:
      return call(client, step);
  }
}

await runAll(connect, run);
