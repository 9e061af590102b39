#!lua flags=allow-oom
-- Everything that changes or reads plockfs's state in Redis: docs/protocol.md.
--
-- KEYS[1]  {prefix}:g
-- ARGV     operation, epoch, session, then what the caller can vouch for: server time of its last answered
--          beat, milliseconds on its own clock since it sent that, server time since when it watches; the
--          number of its hello; then what the operation takes.
-- Answers start with a word: OK, WAIT, BUSY, GRACE, NONE, LOST, LATE, FBIG, EXIST, NOENT, NOTDIR, ISDIR,
-- NOTEMPTY, INUSE, TTL; or INC (another incarnation: say hello), GONE (no such session: it
-- was purged) and OLD (of a connection that was given up: must not do anything any more).
-- Every operation may be sent twice and answers the same.
local g = KEYS[1]
local P = string.sub(g, 1, -2)
local op, epoch, sid = ARGV[1], ARGV[2], ARGV[3]
local beat_at, beat_ago, watch_since = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local call = redis.call
local time = call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local now = math.floor(now_us / 1000)

local function int(n)
	return string.format('%.0f', n)
end

local head = call('HMGET', g, 'inc', 'e', 'gr', 'f', 'ttl', 'nv')
local inc, era, grace, floor = head[1], head[2], tonumber(head[3]) or 0, tonumber(head[4]) or 0
local E = P .. (era or '') .. ':'

-- The two commonest cases, before the functions of all the others are made: a lock at the top that nobody
-- holds or waits for is acquired; one that nobody waits for is given back.
if inc == epoch and (op == 'acq' or op == 'rel') and string.sub(ARGV[9], 1, 1) == 'L' then
	local handle, kn = ARGV[8], ARGV[9]
	local current = call('HGET', E .. 'm:' .. sid, 'cn') == ARGV[7]
	local held, queue, member = E .. 'h:' .. kn, E .. 'q:' .. kn, sid .. '/' .. handle
	if op == 'acq' and current and now >= grace and not string.find(kn, '/', 1, true) and
		call('EXISTS', held, queue) == 0 and call('HEXISTS', P .. 'n', string.sub(kn, 2)) == 0 then
		local mode, token = ARGV[10], floor
		if mode == 'x' then
			token = math.max(floor + 1, now_us)
			call('HSET', g, 'f', int(token))
		end
		local rec = mode .. ' 0 ' .. int(token) .. ' ' .. int(now) .. ' ' .. ARGV[15]
		call('HSET', held, member, rec, '#', mode)
		call('HSET', E .. 'i:' .. sid, handle, kn)
		return { 'OK', rec, '0' }
	elseif op == 'rel' and current and ARGV[10] == 'c' and call('HGET', held, '#') == 'x' and
		call('HEXISTS', held, member) == 1 and call('EXISTS', queue, E .. 'b:' .. sid, P .. 'a') == 0 then
		call('DEL', held, E .. 'a:' .. member)
		call('HDEL', E .. 'i:' .. sid, handle)
		return { 'OK' }
	end
end

-- Keys of one epoch: nothing of an earlier incarnation is ever read.
local function S() return E .. 's' end              -- sessions by the end of their lease, ms
local function M(s) return E .. 'm:' .. s end       -- a session: ttl, ng (grants published), cn (its last hello)
local function I(s) return E .. 'i:' .. s end       -- its handles, holding or waiting: to kind and name
local function B(s) return E .. 'b:' .. s end       -- its handles that an admin broke
local function H(kn) return E .. 'h:' .. kn end     -- holders: member to record; '#': mode of a lock's holders
local function Q(kn) return E .. 'q:' .. kn end     -- waiters by ticket
local function W(kn) return E .. 'w:' .. kn end     -- their records; '#': the highest slot that one of them takes
local function A(member) return E .. 'a:' .. member end -- number of a holder's last append
local function V(name) return P .. 'v:' .. name end -- the value; outlives epochs

local function tell(s, text)
	call('PUBLISH', P .. 'c:' .. string.match(s, '^[^.]*'), text)
end

local function split(member)
	return string.match(member, '^([^/]*)/(.*)$')
end

local function is_lock(kn)
	return string.sub(kn, 1, 1) == 'L'
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

local function contention(kn, word)
	local seen = {}
	local members = call('HKEYS', H(kn))
	for i = 1, math.min(#members, 1000) do
		local s = split(members[i])
		if s and not seen[s] then
			seen[s] = true
			tell(s, word .. ' ' .. kn)
		end
	end
end

local function add_hold(kn, member, mode, slot, token, since, who)
	local s, handle = split(member)
	call('HSET', H(kn), member, table.concat({ mode, int(slot), int(token), since, who }, ' '))
	if is_lock(kn) then
		call('HSET', H(kn), '#', mode)
	end
	call('HSET', I(s), handle, kn)
end

local function next_token()
	floor = math.max(floor + 1, now_us)
	call('HSET', g, 'f', int(floor))
	return floor
end

-- Returns the record.
local function give(kn, member, mode, slot, who)
	local token = mode == 'x' and next_token() or floor
	add_hold(kn, member, mode, slot, token, int(now), who)
	return call('HGET', H(kn), member)
end

local function drop_hold(kn, member)
	local s, handle = split(member)
	call('HDEL', H(kn), member)
	call('HDEL', I(s), handle)
	call('SREM', B(s), handle)
	call('DEL', A(member))
	if is_lock(kn) and call('HLEN', H(kn)) == 1 then
		call('DEL', H(kn))
	end
end

local function drop_wait(kn, member, keep_index)
	local s, handle = split(member)
	local had = call('ZREM', Q(kn), member)
	call('HDEL', W(kn), member)
	if not keep_index then
		call('HDEL', I(s), handle)
	end
	if had == 1 and call('ZCARD', Q(kn)) == 0 then
		call('DEL', W(kn))
		contention(kn, 'u')
	end
end

local function taken_slots(kn)
	local taken = {}
	local all = call('HVALS', H(kn))
	for i = 1, #all do
		local _, slot = parse_hold(all[i])
		taken[slot] = true
	end
	return taken
end

local function free_slot(taken, lo, hi)
	for slot = lo, hi - 1 do
		if not taken[slot] then
			return slot
		end
	end
	return nil
end

local function compatible(kn, mode)
	local held = call('HGET', H(kn), '#')
	return not held or (held == 's' and mode == 's')
end

local function promote(kn, member, mode, slot, who)
	local s, handle = split(member)
	drop_wait(kn, member, true)
	local rec = give(kn, member, mode, slot, who)
	call('HINCRBY', M(s), 'ng', 1)
	local more = call('ZCARD', Q(kn)) > 0 and '1' or '0'
	tell(s, 'g ' .. s .. ' ' .. handle .. ' ' .. more .. ' ' .. rec)
end

-- A waiter whose session is no more.
local function is_orphan(member)
	local s = split(member)
	return not call('ZSCORE', S(), s)
end

local function pump_lock(kn)
	while true do
		local member = call('ZRANGE', Q(kn), 0, 0)[1]
		if not member then
			return
		end
		local rec = call('HGET', W(kn), member)
		if not rec or is_orphan(member) then
			drop_wait(kn, member)
		else
			local mode, _, _, _, who = parse_wait(rec)
			if not compatible(kn, mode) then
				return
			end
			promote(kn, member, mode, 0, who)
		end
	end
end

local function pump_sem(kn)
	local widest = tonumber(call('HGET', W(kn), '#')) or 0
	local full, at = 0, 0
	local taken = taken_slots(kn)
	while full < widest do
		local member = call('ZRANGE', Q(kn), at, at)[1]
		if not member then
			return
		end
		local rec = call('HGET', W(kn), member)
		if not rec or is_orphan(member) then
			drop_wait(kn, member)
		else
			local mode, lo, hi, _, who = parse_wait(rec)
			local slot = hi > full and free_slot(taken, lo, hi)
			if slot then
				taken[slot] = true
				promote(kn, member, mode, slot, who)
			else
				if lo == 0 then
					full = math.max(full, hi)
				end
				at = at + 1
			end
		end
	end
end

-- Grants whatever the queue's head may have now.
local function pump(kn)
	if now < grace then
		return
	end
	if is_lock(kn) then
		pump_lock(kn)
	else
		pump_sem(kn)
	end
end

local function forget(kn, member)
	local rec = call('HGET', H(kn), member)
	if rec then
		if is_lock(kn) and string.sub(rec, 1, 1) == 'x' then
			call('SADD', P .. 'a', string.sub(kn, 2))
		end
		drop_hold(kn, member)
	else
		drop_wait(kn, member)
	end
end

-- Takes out a dead session, at most a thousand of its handles at a time. True when it is gone.
local function purge(s)
	local page = call('HSCAN', I(s), 0, 'COUNT', 1000)[2]
	local touched = {}
	for i = 1, #page, 2 do
		forget(page[i + 1], s .. '/' .. page[i])
		call('HDEL', I(s), page[i])
		touched[page[i + 1]] = true
	end
	local gone = call('HLEN', I(s)) == 0
	if gone then
		call('ZREM', S(), s)
		call('DEL', M(s), I(s), B(s))
	end
	for kn in pairs(touched) do
		pump(kn)
	end
	return gone
end

local function sweep()
	if not vouched then
		return
	end
	local late = call('ZRANGE', S(), '-inf', int(now), 'BYSCORE', 'LIMIT', 0, 4, 'WITHSCORES')
	for i = 1, #late, 2 do
		if late[i] ~= sid and now >= dead_at(late[i], tonumber(late[i + 1])) then
			purge(late[i])
		end
	end
end

-- What an earlier incarnation left, a little at a time.
local function clean_old()
	local old = call('LINDEX', P .. 'old', 0)
	if not old or old == era then
		if old then
			call('LPOP', P .. 'old')
		end
		return
	end
	local X = P .. old .. ':'
	local s = call('ZRANGE', X .. 's', 0, 0)[1]
	if not s then
		call('LPOP', P .. 'old')
		return
	end
	local page = call('HSCAN', X .. 'i:' .. s, 0, 'COUNT', 200)[2]
	for i = 1, #page, 2 do
		local kn = page[i + 1]
		call('DEL', X .. 'h:' .. kn, X .. 'q:' .. kn, X .. 'w:' .. kn, X .. 'a:' .. s .. '/' .. page[i])
		call('HDEL', X .. 'i:' .. s, page[i])
	end
	if call('HLEN', X .. 'i:' .. s) == 0 then
		call('DEL', X .. 'm:' .. s, X .. 'i:' .. s, X .. 'b:' .. s)
		call('ZREM', X .. 's', s)
	end
end

local function namespace(path)
	return call('HGET', P .. 'n', path)
end

local function in_use(name)
	return call('EXISTS', H('L' .. name), Q('L' .. name), V(name)) > 0
end

-- Names and namespaces anywhere below a namespace.
local function below(path, held_only)
	local lead = path .. '/'
	local function is_below(name)
		return string.sub(name, 1, #lead) == lead
	end
	local sessions = call('ZRANGE', S(), 0, -1)
	for i = 1, #sessions do
		local names = call('HVALS', I(sessions[i]))
		for k = 1, #names do
			if is_lock(names[k]) and is_below(string.sub(names[k], 2)) then
				return true
			end
		end
	end
	if held_only then
		return false
	end
	local lists = { call('ZRANGE', P .. 'V', 0, -1), call('HKEYS', P .. 'n') }
	for i = 1, #lists do
		for k = 1, #lists[i] do
			if is_below(lists[i][k]) then
				return true
			end
		end
	end
	return false
end

local function namespaces_changed()
	call('HINCRBY', g, 'nv', 1)
	call('PUBLISH', P .. 'c', 'n')
end

local function parent_problem(path)
	local parent = string.match(path, '^(.*)/[^/]*$')
	if not parent or namespace(parent) then
		return nil
	end
	return { in_use(parent) and 'NOTDIR' or 'NOENT' }
end

local function holding(handle, kn, mode)
	local rec = call('HGET', H(kn), sid .. '/' .. handle)
	if not rec or call('SISMEMBER', B(sid), handle) == 1 then
		return nil
	end
	return mode == nil or string.sub(rec, 1, 1) == mode
end

local function value_changed(name)
	if call('STRLEN', V(name)) == 0 then
		call('DEL', V(name))
		call('ZREM', P .. 'V', name)
	else
		call('ZADD', P .. 'V', int(now), name)
	end
end

local ops = {}

-- run_id ttl floor: a session begins, or goes on after a lost connection.
function ops.hello(run_id, ttl, least)
	ttl = tonumber(ttl)
	if not inc or string.sub(inc, 1, #run_id + 1) ~= run_id .. ':' then
		if era then
			call('RPUSH', P .. 'old', era)
		end
		era = int(now_us)
		inc = run_id .. ':' .. era
		grace = now + math.max(ttl, tonumber(head[5]) or 0)
		call('HSET', g, 'inc', inc, 'e', era, 'gr', int(grace), 'ttl', int(ttl))
		E = P .. era .. ':'
	elseif tonumber(head[5]) ~= ttl then
		if call('ZCOUNT', S(), int(now), '+inf') > 0 then
			return { 'TTL', head[5] }
		end
		call('HSET', g, 'ttl', int(ttl))
	end
	if tonumber(least) > floor then
		floor = tonumber(least)
		call('HSET', g, 'f', int(floor))
	end
	if (tonumber(call('HGET', M(sid), 'cn')) or 0) > tonumber(ARGV[7]) then
		return { 'OLD' }
	end
	local known = call('ZSCORE', S(), sid) and '1' or '0'
	call('ZADD', S(), int(now + ttl), sid)
	call('HSETNX', M(sid), 'ng', 0)
	call('HSET', M(sid), 'ttl', int(ttl), 'cn', ARGV[7])
	return { 'OK', inc, int(now), known, int(math.max(grace - now, 0)), call('HGET', M(sid), 'ng'), head[6] or '0' }
end

-- The heartbeat.
function ops.beat()
	local ttl = tonumber(call('HGET', M(sid), 'ttl'))
	call('ZADD', S(), int(now + ttl), sid)
	-- The clock was set back: no lease lasts longer than its ttl.
	local far = call('ZRANGE', S(), '(' .. int(now + 2 * ttl), '+inf', 'BYSCORE', 'LIMIT', 0, 16)
	for i = 1, #far do
		call('ZADD', S(), int(now + (tonumber(call('HGET', M(far[i]), 'ttl')) or ttl)), far[i])
	end
	sweep()
	clean_old()
	local answer = { 'OK', int(now), call('HGET', M(sid), 'ng'), head[6] or '0', int(next_chance()),
		tostring(call('HLEN', I(sid))) }
	local broken = call('SMEMBERS', B(sid))
	for i = 1, #broken do
		answer[#answer + 1] = broken[i]
	end
	return answer
end

function ops.acq(handle, kn, mode, lo, hi, try, ticket, who)
	local member = sid .. '/' .. handle
	local rec = call('HGET', H(kn), member)
	if rec then
		return { 'OK', rec, call('ZCARD', Q(kn)) > 0 and '1' or '0' }
	end
	local problem = is_lock(kn) and (parent_problem(string.sub(kn, 2)) or
		(namespace(string.sub(kn, 2)) and { 'ISDIR' }))
	if problem then
		return problem
	end
	local had = call('ZSCORE', Q(kn), member)
	lo, hi = tonumber(lo), tonumber(hi)
	sweep()
	pump(kn)
	if had then
		rec = call('HGET', H(kn), member)
		return rec and { 'OK', rec, '0' } or { 'WAIT', int(tonumber(had)) }
	end
	if now >= grace then
		local slot = nil
		if not is_lock(kn) then
			slot = free_slot(taken_slots(kn), lo, hi)
		elseif call('ZCARD', Q(kn)) == 0 and compatible(kn, mode) then
			slot = 0
		end
		if slot then
			return { 'OK', give(kn, member, mode, slot, who), '0' }
		end
	end
	if try == '1' then
		return { now < grace and 'GRACE' or 'BUSY' }
	end
	ticket = tonumber(ticket)
	if ticket == 0 then
		ticket = math.max((tonumber(call('HGET', g, 'tk')) or 0) + 1, now_us)
		call('HSET', g, 'tk', int(ticket))
	end
	call('HSET', W(kn), member, table.concat({ mode, int(lo), int(hi), int(now), who }, ' '))
	call('HSET', W(kn), '#', int(math.max(hi, tonumber(call('HGET', W(kn), '#')) or 0)))
	call('HSET', I(sid), handle, kn)
	call('ZADD', Q(kn), int(ticket), member)
	if call('ZCARD', Q(kn)) == 1 then
		contention(kn, 'w')
	end
	return { 'WAIT', int(ticket) }
end

-- how: c cleanly, l lost (the value may be half written)
function ops.rel(handle, kn, how)
	local member = sid .. '/' .. handle
	local rec = call('HGET', H(kn), member)
	if rec then
		if is_lock(kn) and string.sub(rec, 1, 1) == 'x' then
			call(how == 'c' and 'SREM' or 'SADD', P .. 'a', string.sub(kn, 2))
		end
		drop_hold(kn, member)
	else
		drop_wait(kn, member)
	end
	pump(kn)
	return { 'OK' }
end

function ops.conv(handle, kn, mode, try)
	local member = sid .. '/' .. handle
	local rec = call('HGET', H(kn), member)
	if not rec or not holding(handle, kn) then
		return { 'LOST' }
	end
	local was, slot, token, _, who = parse_hold(rec)
	if was == mode then
		return { 'OK', rec }
	end
	if mode == 's' then
		call('SREM', P .. 'a', string.sub(kn, 2))
	elseif call('HLEN', H(kn)) > 2 or now < grace or (try == '1' and call('ZCARD', Q(kn)) > 0) then
		return { 'BUSY' }
	else
		token = next_token()
	end
	add_hold(kn, member, mode, slot, token, int(now), who)
	pump(kn)
	return { 'OK', call('HGET', H(kn), member) }
end

-- The grace is over: a wait looks again.
function ops.poke(kn)
	sweep()
	pump(kn)
	return { 'OK' }
end

-- What the session had before the server lost its memory.
function ops.claim(handle, kn, mode, slot, token, since, who)
	local member = sid .. '/' .. handle
	if call('HEXISTS', H(kn), member) == 1 then
		return { 'OK' }
	end
	if is_lock(kn) then
		if not compatible(kn, mode) then
			return { 'LOST' }
		end
	elseif taken_slots(kn)[tonumber(slot)] then
		return { 'LOST' }
	end
	add_hold(kn, member, mode, tonumber(slot), tonumber(token), since, who)
	if tonumber(token) > floor then
		floor = tonumber(token)
		call('HSET', g, 'f', int(floor))
	end
	return { 'OK' }
end

-- What does this session hold and wait for?
function ops.sync()
	local answer = { 'OK', call('HGET', M(sid), 'ng') }
	local all = call('HGETALL', I(sid))
	for i = 1, #all, 2 do
		answer[#answer + 1] = all[i]
		answer[#answer + 1] = call('HGET', H(all[i + 1]), sid .. '/' .. all[i]) or ''
		answer[#answer + 1] = all[i + 1]
	end
	return answer
end

-- The holder's mount gives it up first, then the next one gets it.
ops['break'] = function(target)
	local s, handle = split(target)
	local kn = call('HGET', I(s), handle)
	if not kn or call('HEXISTS', H(kn), target) == 0 then
		return { 'NONE' }
	end
	call('SADD', B(s), handle)
	tell(s, 'l ' .. s .. ' ' .. handle)
	return { 'OK' }
end

function ops.endw(target)
	local s, handle = split(target)
	local kn = call('HGET', I(s), handle)
	if not kn or not call('ZSCORE', Q(kn), target) then
		return { 'NONE' }
	end
	drop_wait(kn, target)
	pump(kn)
	tell(s, 'e ' .. s .. ' ' .. handle)
	return { 'OK' }
end

-- old: a session of the caller that is over.
function ops.bye(old)
	return { purge(old) and 'OK' or 'MORE' }
end

-- --- values ---

function ops.rd(handle, kn, off, size)
	if holding(handle, kn) == nil then
		return { 'LOST' }
	end
	if size == '0' then
		return { 'OK', '' }
	end
	return { 'OK', call('GETRANGE', V(string.sub(kn, 2)), off, int(tonumber(off) + tonumber(size) - 1)) }
end

-- limit: server time after which the sender no longer believes in its hold. id: tells a repeated append.
function ops.wr(handle, kn, limit, max, off, id, data)
	local name = string.sub(kn, 2)
	if not holding(handle, kn, 'x') then
		return { 'LOST' }
	end
	if now > tonumber(limit) then
		return { 'LATE' }
	end
	off = tonumber(off)
	if off < 0 then
		if call('GET', A(sid .. '/' .. handle)) == id then
			return { 'OK' }
		end
		off = call('STRLEN', V(name))
	end
	if off + #data > tonumber(max) then
		return { 'FBIG' }
	end
	call('SETRANGE', V(name), int(off), data)
	call('SET', A(sid .. '/' .. handle), id)
	value_changed(name)
	return { 'OK' }
end

function ops.trunc(handle, kn, limit, size)
	local name = string.sub(kn, 2)
	if not holding(handle, kn, 'x') then
		return { 'LOST' }
	end
	if now > tonumber(limit) then
		return { 'LATE' }
	end
	size = tonumber(size)
	local had = call('STRLEN', V(name))
	if size == 0 then
		call('DEL', V(name))
	elseif size < had then
		call('SET', V(name), call('GETRANGE', V(name), 0, int(size - 1)))
	elseif size > had then
		call('SETRANGE', V(name), int(size - 1), '\0')
	end
	value_changed(name)
	return { 'OK' }
end

-- Writes something, so that a WAIT after it covers every write before it.
function ops.sync_value(handle, kn, limit)
	if holding(handle, kn) == nil then
		return { 'LOST' }
	end
	if now > tonumber(limit) then
		return { 'LATE' }
	end
	call('HSET', M(sid), 'y', int(now_us))
	return { 'OK' }
end

function ops.rm(handle, kn, limit)
	local name = string.sub(kn, 2)
	if not holding(handle, kn, 'x') then
		return { 'LOST' }
	end
	if now > tonumber(limit) then
		return { 'LATE' }
	end
	local had = call('DEL', V(name))
	call('ZREM', P .. 'V', name)
	return { had == 1 and 'OK' or 'NONE' }
end

function ops.mv(handle, kn, limit, handle2, kn2)
	local from, to = string.sub(kn, 2), string.sub(kn2, 2)
	if not holding(handle, kn, 'x') or not holding(handle2, kn2, 'x') then
		return { 'LOST' }
	end
	if now > tonumber(limit) then
		return { 'LATE' }
	end
	if call('EXISTS', V(from)) == 0 then
		return { 'NONE' }
	end
	call('RENAME', V(from), V(to))
	value_changed(from)
	value_changed(to)
	return { 'OK' }
end

-- --- looking ---

function ops.stat(kn)
	local name = string.sub(kn, 2)
	local ns = is_lock(kn) and namespace(name)
	if ns then
		return { 'OK', 'n', ns }
	end
	local problem = is_lock(kn) and parent_problem(name)
	if problem then
		return problem
	end
	local first = ''
	local fields = call('HGETALL', H(kn))
	local holders = 0
	for i = 1, #fields, 2 do
		if fields[i] ~= '#' then
			holders = holders + 1
			first = fields[i + 1]
		end
	end
	return { 'OK', 'l', tostring(call('STRLEN', V(name))), call('ZSCORE', P .. 'V', name) or '0', int(holders),
		tostring(call('ZCARD', Q(kn))), first, tostring(call('SISMEMBER', P .. 'a', name)) }
end

local function add_view(answer, kn)
	local fields = call('HGETALL', H(kn))
	for i = 1, #fields, 2 do
		if fields[i] ~= '#' then
			answer[#answer + 1] = { 'h', kn, fields[i], fields[i + 1] }
		end
	end
	local waiters = call('ZRANGE', Q(kn), 0, -1)
	for i = 1, #waiters do
		local rec = call('HGET', W(kn), waiters[i])
		if rec then
			answer[#answer + 1] = { 'w', kn, waiters[i], rec }
		end
	end
end

-- Kind and name, or just the kind: all of it.
function ops.view(kn)
	local answer = { 'OK' }
	if #kn > 1 then
		add_view(answer, kn)
		return answer
	end
	local sessions = call('ZRANGE', S(), 0, -1)
	local seen = {}
	for i = 1, #sessions do
		local names = call('HVALS', I(sessions[i]))
		for k = 1, #names do
			if string.sub(names[k], 1, 1) == kn and not seen[names[k]] then
				seen[names[k]] = true
				add_view(answer, names[k])
			end
		end
	end
	return answer
end

-- Every name of a kind that is used.
function ops.list(kind)
	local answer, seen = { 'OK' }, {}
	local sessions = call('ZRANGE', S(), 0, -1)
	for i = 1, #sessions do
		local names = call('HVALS', I(sessions[i]))
		for k = 1, #names do
			if string.sub(names[k], 1, 1) == kind and not seen[names[k]] then
				seen[names[k]] = true
				answer[#answer + 1] = names[k]
			end
		end
	end
	if kind == 'L' then
		local names = call('ZRANGE', P .. 'V', 0, -1)
		for k = 1, #names do
			answer[#answer + 1] = 'L' .. names[k]
		end
		names = call('HKEYS', P .. 'n')
		for k = 1, #names do
			answer[#answer + 1] = 'N' .. names[k]
		end
	end
	return answer
end

-- --- namespaces: path to "perm uid gid mtime" ---

function ops.nsget()
	local answer = call('HGETALL', P .. 'n')
	table.insert(answer, 1, head[6] or '0')
	table.insert(answer, 1, 'OK')
	return answer
end

function ops.nsmk(path, perm, uid, gid)
	local problem = parent_problem(path)
	if problem then
		return problem
	end
	if namespace(path) or in_use(path) then
		return { 'EXIST' }
	end
	call('HSET', P .. 'n', path, table.concat({ perm, uid, gid, int(now) }, ' '))
	namespaces_changed()
	return { 'OK' }
end

function ops.nsrm(path)
	if not namespace(path) then
		return parent_problem(path) or { in_use(path) and 'NOTDIR' or 'NOENT' }
	end
	if below(path, false) then
		return { 'NOTEMPTY' }
	end
	call('HDEL', P .. 'n', path)
	namespaces_changed()
	return { 'OK' }
end

function ops.nschmod(path, perm, uid, gid)
	local ns = namespace(path)
	if not ns then
		return { 'NOENT' }
	end
	local p, u, gr = string.match(ns, '^(%d+) (%d+) (%d+)')
	call('HSET', P .. 'n', path, table.concat({ perm == '-' and p or perm, uid == '-' and u or uid,
		gid == '-' and gr or gid, int(now) }, ' '))
	namespaces_changed()
	return { 'OK' }
end

function ops.nsmv(from, to)
	if not namespace(from) then
		return { 'NOENT' }
	end
	local problem = parent_problem(to)
	if problem then
		return problem
	end
	if from == to then
		return { 'OK' }
	end
	if below(from, true) then
		return { 'INUSE' }
	end
	if namespace(to) then
		if below(to, false) then
			return { 'NOTEMPTY' }
		end
	elseif in_use(to) then
		return { 'NOTDIR' }
	end
	local lead = from .. '/'
	local paths = call('HGETALL', P .. 'n')
	for i = 1, #paths, 2 do
		if paths[i] == from or string.sub(paths[i], 1, #lead) == lead then
			call('HDEL', P .. 'n', paths[i])
			call('HSET', P .. 'n', to .. string.sub(paths[i], #from + 1), paths[i + 1])
		end
	end
	local names = call('ZRANGE', P .. 'V', 0, -1, 'WITHSCORES')
	for i = 1, #names, 2 do
		if string.sub(names[i], 1, #lead) == lead then
			local name = to .. string.sub(names[i], #from + 1)
			call('RENAME', V(names[i]), V(name))
			call('ZREM', P .. 'V', names[i])
			call('ZADD', P .. 'V', names[i + 1], name)
		end
	end
	namespaces_changed()
	return { 'OK' }
end

if op ~= 'hello' then
	if inc ~= epoch then
		return { 'INC' }
	end
	local current = call('HGET', M(sid), 'cn')
	if not current then
		return { 'GONE' }
	elseif current ~= ARGV[7] then
		return { 'OLD' }
	end
end
return ops[op](unpack(ARGV, 8))
