-- Keys of one epoch: nothing of an earlier incarnation is ever read.
local function S() return E .. 's' end              -- sessions by the end of their lease, ms
local function M(s) return E .. 'm:' .. s end       -- a session: ttl, ng (grants published), nw (asked for what it keeps), cn (last hello)
local function I(s) return E .. 'i:' .. s end       -- its handles, holding or waiting: to kind and name
local function B(s) return E .. 'b:' .. s end       -- its handles that an admin broke
local function H(kn) return E .. 'h:' .. kn end     -- holders: member to record; '#': mode of a lock's holders
local function Q(kn) return E .. 'q:' .. kn end     -- waiters by ticket
local function W(kn) return E .. 'w:' .. kn end     -- their records; '#': the highest slot that one of them takes
local function A(member) return E .. 'a:' .. member end -- number of a holder's last append
local function R(ln) return E .. 'r:' .. ln end     -- byte ranges of a file: SESSION/OWNER to what it has
-- And three that outlive epochs. A lock's name (ln) is also that of the file it belongs to: of its bytes, its inode.
local function V(name) return P .. 'v:' .. name end -- the value, the bytes
local function N(ln) return P .. 'f:' .. ln end     -- the inode: t (f, l), mode, uid, gid, nlink, ino, mtime, ctime, to
local FILES, MOVED = P .. 'F', P .. 'X'             -- names with an inode; names that have another lock than their own

local function tell(s, text)
	call('PUBLISH', P .. 'c:' .. string.match(s, '^[^.]*'), text)
end

-- A handle ends with f for a flock(2) of a file, with r for a wait for byte ranges; else it is of locks/ or sems/.
local function split(member)
	return string.match(member, '^([^/]*)/(.*)$')
end

local function is_plain(member)
	return not string.find(member, '[fr]$')
end

local function is_lock(kn)
	return string.sub(kn, 1, 1) == 'L'
end

-- The name of the lock that a name has now.
local function resolve(name)
	return call('HGET', MOVED, name) or name
end

-- The name by which a handle of locks/ asked for this lock.
local function asked_by(kn, member)
	return call('HGET', E .. 'j', member) or string.sub(kn, 2)
end

-- mode lo hi asked who
local function parse_wait(rec)
	local mode, lo, hi, asked, who = string.match(rec, '^(%a) (%d+) (%d+) (%d+) (.*)$')
	return mode, tonumber(lo), tonumber(hi), asked, who
end

-- mode slot token since who
local function parse_hold(rec)
	local mode, slot, token, since, who = string.match(rec, '^(%a) (%d+) (%d+) (%d+) (.*)$')
	return mode, tonumber(slot), tonumber(token), since, who
end

local function namespace(path)
	return call('HGET', P .. 'n', path)
end

local function has_file(name)
	return call('SISMEMBER', FILES, name) == 1
end

local function in_use(name)
	local ln = resolve(name)
	return has_file(name) or call('EXISTS', H('L' .. ln), Q('L' .. ln), V(ln)) > 0
end

local function parent_problem(path)
	local parent = string.match(path, '^(.*)/[^/]*$')
	if not parent or namespace(parent) then
		return nil
	end
	return { in_use(parent) and 'NOTDIR' or 'NOENT' }
end

-- Leases end by the server's clock, which may jump. Nobody is declared dead unless the caller's own clock
-- confirms that a whole lease went by: the server's clock agrees with it since its last beat, and it has
-- watched for at least as long as the lease lasts.
local slack = math.max(50, (tonumber(head[5]) or 0) / 10)
local vouched = math.abs((now - beat_at) - beat_ago) <= slack

local function dead_at(s, expiry)
	local ttl = tonumber(call('HGET', M(s), 'ttl')) or 0
	return math.max(expiry, watch_since + ttl)
end

-- How long until another session may be declared dead.
local function next_chance()
	local at = now + 60000
	local first = call('ZRANGE', S(), 0, 3, 'WITHSCORES')
	for i = 1, #first, 2 do
		if first[i] ~= sid then
			at = math.min(at, dead_at(first[i], tonumber(first[i + 1])))
		end
	end
	return math.max(at - now, 1)
end

