// What the two drivers for Node share: bytes are written as text in the common script, one character each.

import { createInterface } from "node:readline";

export const protocol = Number(process.argv[2]);

export const toSend = (word) => (typeof word === "string" ? Buffer.from(word, "latin1") : word);

// A reply as the common script has it.
export function told(reply) {
  if (Buffer.isBuffer(reply)) return reply.toString("latin1");
  if (reply instanceof Error) return { error: reply.message };
  if (Array.isArray(reply)) return reply.map(told);
  if (reply instanceof Map) return told(Object.fromEntries(reply));
  if (reply && typeof reply === "object") {
    return Object.fromEntries(Object.entries(reply).map(([name, value]) => [name, told(value)]));
  }
  return reply ?? null;
}

export const versionIn = (info) => /^redis_version:(.*?)\r?$/m.exec(String(info))[1];

// Runs each case on a connection of its own, a line each, and prints its replies. `connect` gives [client, close].
export async function runAll(connect, run) {
  for await (const line of createInterface({ input: process.stdin })) {
    const { port, password, steps } = JSON.parse(line);
    const replies = [];
    let close = () => {};
    try {
      const [client, closing] = await connect(port, password ?? undefined);
      close = closing;
      for (const step of steps) replies.push(await run(client, step).then(told, told));
    } catch (error) {
      replies.push(told(error));
    } finally {
      close();
    }
    process.stdout.write(`${JSON.stringify(replies)}\n`);
  }
}
