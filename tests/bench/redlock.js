// node-redlock, timed as timing.c does: node redlock.js MODULES SOCKET|PORT N
const path = require('path');
const readline = require('readline');

const [modules, address, count] = process.argv.slice(2);
const Redis = require(path.join(modules, 'ioredis'));
const Redlock = require(path.join(modules, 'redlock'));
const n = Number(count);

async function main() {
  const client = address.startsWith('/') ? new Redis(address) : new Redis(Number(address), '127.0.0.1');
  const redlock = new Redlock([client]);
  const sorted = (times) => times.sort((a, b) => a - b);
  let every = null;

  for await (const _ of readline.createInterface({ input: process.stdin })) {
    const times = [];
    for (let i = 0; i < n; i++) {
      const mark = process.hrtime.bigint();
      const lock = await redlock.lock('bench-redlock', 10000);
      await lock.unlock();
      times.push(Number(process.hrtime.bigint() - mark) / 1e3);
    }
    sorted(times);
    console.log(`${times[n >> 1]} ${times.reduce((a, b) => a + b) / n} 0 0`);
    every = every ? every.concat(times) : []; // the first round is a warm-up
  }
  sorted(every);
  console.log(`${every[every.length >> 1]} ${every[Math.floor((every.length * 99) / 100)]}`);
  client.disconnect();
}

main().catch((e) => {
  console.error(e);
  process.exit(1);
});
