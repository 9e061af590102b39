// Adds 1 to the number in FILE, ROUNDS times, each time under a lock: node counter.js mkdir|excl FILE ROUNDS.
//
// Node has no flock: its libraries make a folder (proper-lockfile, which then keeps the folder's mtime fresh) or a file
// that must be new (lockfile).
const fs = require('fs');

const [how, file, rounds] = process.argv.slice(2);
const lock = file + '.lock';
const still = new Int32Array(new SharedArrayBuffer(4));

function tryLock() {
    try {
        if (how === 'mkdir') {
            fs.mkdirSync(lock);
        } else {
            fs.closeSync(fs.openSync(lock, 'wx'));
        }
        return true;
    } catch (e) {
        if (e.code !== 'EEXIST') {
            throw e;
        }
        return false;
    }
}

function acquire() {
    while (!tryLock()) {
        Atomics.wait(still, 0, 0, 1 + Math.random() * 3);
    }
    if (how === 'mkdir') {
        const now = Math.ceil(Date.now() / 1000);
        fs.utimesSync(lock, now, now);
        if (fs.statSync(lock).mtimeMs !== now * 1000) {
            throw new Error('somebody else touched the lock');
        }
    }
}

function release() {
    if (how === 'mkdir') {
        fs.rmdirSync(lock);
    } else {
        fs.unlinkSync(lock);
    }
}

console.log('ready');
fs.readFileSync(0);
for (let i = 0; i < rounds; i++) {
    acquire();
    const number = parseInt(fs.readFileSync(file, 'ascii'), 10);
    fs.writeFileSync(file, `${number + 1}\n`);
    release();
}
