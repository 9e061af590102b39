#!lua flags=allow-oom
-- Everything that changes or reads plockfs's state in Redis: docs/protocol.md. There are several scripts, each put
-- together from a few of these parts, which share their locals: backend/redis/protocol.c says which.
--
-- KEYS[1]  {prefix}:g
-- ARGV     operation, epoch, session, then what the caller can vouch for: server time of its last answered
--          beat, milliseconds on its own clock since it sent that, server time since when it watches; the
--          number of its hello; then what the operation takes.
-- Answers start with a word: OK, WAIT, BUSY, GRACE, NONE, LOST, LATE, FBIG, EXIST, NOENT, NOTDIR, ISDIR,
-- NOTEMPTY, INUSE, TTL, LOOP, INVAL, PERM, NOLCK, DEADLK; AGAIN (a mount was asked for what it keeps: ask again when it
-- has answered); or INC (another incarnation: say hello), GONE (no such session: it
-- was purged) and OLD (of a connection that was given up: must not do anything any more).
-- Every operation may be sent twice and answers the same.
local g = KEYS[1]
local P = string.sub(g, 1, -2)
local op, epoch, sid = ARGV[1], ARGV[2], ARGV[3]
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

-- The two commonest cases, before the functions of all the others are made, and with as few calls as can be: a lock
-- at the top that nobody holds or waits for is acquired; one that nobody waits for is given back.
if inc == epoch and (op == 'acq' or op == 'rel') and string.sub(ARGV[9], 1, 1) == 'L' then
	local handle, kn = ARGV[8], ARGV[9]
	local current = call('HGET', E .. 'm:' .. sid, 'cn') == ARGV[7]
	local held, queue, member = E .. 'h:' .. kn, E .. 'q:' .. kn, sid .. '/' .. handle
	local X, folders = P .. 'X', P .. 'n'
	if op == 'acq' and current and now >= grace and not string.find(kn, '/', 1, true) and
		-- Where there are no namespaces and no name has another's lock, there is nothing more to ask.
		(call('EXISTS', held, queue, X, folders) == 0 or call('EXISTS', held, queue) == 0 and
		call('HEXISTS', folders, string.sub(kn, 2)) == 0 and
		(string.sub(handle, -1) == 'f' or call('HEXISTS', X, string.sub(kn, 2)) == 0)) then
		local mode, token, keep = ARGV[10], int(floor), tonumber(ARGV[16])
		local us = time[1] .. string.format('%06d', time[2])
		if mode == 'x' then
			token = now_us > floor and us or int(floor + 1)
			call('HSET', g, 'f', keep > 0 and int(math.max(floor + 1, now_us) + keep) or token)
		end
		if keep > 0 then
			call('HSET', E .. 'K', kn, 'u ' .. member)
		end
		local rec = mode .. ' 0 ' .. token .. ' ' .. string.sub(us, 1, -4) .. ' ' .. ARGV[15]
		call('HSET', held, member, rec, '#', mode)
		call('HSET', E .. 'i:' .. sid, handle, kn)
		return { 'OK', rec, '0', keep > 0 and '1' or '0' }
	elseif op == 'rel' and current and ARGV[10] == 'c' then
		local have = call('HMGET', held, '#', member)
		if have[1] == 'x' and have[2] and call('EXISTS', queue, E .. 'b:' .. sid, P .. 'a', E .. 'd') == 0 then
			call('DEL', held, E .. 'a:' .. member)
			call('HDEL', E .. 'i:' .. sid, handle)
			return { 'OK' }
		end
	end
end

local beat_at, beat_ago, watch_since = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local ops, first_arg = {}, 8

