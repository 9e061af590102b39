-- The session of a mount.

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
		-- Files that had no name any more.
		local orphans = call('SMEMBERS', X .. 'd')
		for i = 1, math.min(#orphans, 200) do
			need_rare()
			bury(orphans[i])
			call('SREM', X .. 'd', orphans[i])
		end
		if #orphans <= 200 then
			call('DEL', X .. 'd', X .. 'O', X .. 'j', X .. 'B', X .. 'K')
			call('LPOP', P .. 'old')
		end
		return
	end
	local page = call('HSCAN', X .. 'i:' .. s, 0, 'COUNT', 200)[2]
	for i = 1, #page, 2 do
		local kn = page[i + 1]
		call('DEL', X .. 'h:' .. kn, X .. 'q:' .. kn, X .. 'w:' .. kn, X .. 'a:' .. s .. '/' .. page[i])
		call('HDEL', X .. 'i:' .. s, page[i])
	end
	local ranges = call('HSCAN', X .. 'l:' .. s, 0, 'COUNT', 200)[2]
	for i = 1, #ranges, 2 do
		call('DEL', X .. 'r:' .. ranges[i])
		call('HDEL', X .. 'l:' .. s, ranges[i])
	end
	local files = call('HSCAN', X .. 'o:' .. s, 0, 'COUNT', 200)[2]
	for i = 1, #files, 2 do
		call('DEL', X .. 'a:' .. s .. '/' .. files[i])
		call('HDEL', X .. 'o:' .. s, files[i])
	end
	if call('EXISTS', X .. 'i:' .. s, X .. 'l:' .. s, X .. 'o:' .. s) == 0 then
		call('DEL', X .. 'm:' .. s, X .. 'b:' .. s)
		call('ZREM', X .. 's', s)
	end
end

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
	return { 'OK', inc, int(now), known, int(math.max(grace - now, 0)), call('HGET', M(sid), 'ng'), head[6] or '0',
		call('HGET', M(sid), 'nw') or '0' }
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
	tell(sid, 'b ' .. sid .. ' ' .. int(now))
	local answer = { 'OK', int(now), call('HGET', M(sid), 'ng'), head[6] or '0', int(next_chance()),
		tostring(call('HLEN', I(sid))), call('HGET', M(sid), 'nw') or '0' }
	local broken = call('SMEMBERS', B(sid))
	for i = 1, #broken do
		answer[#answer + 1] = broken[i]
	end
	return answer
end

-- What does this session hold and wait for?
function ops.sync()
	local answer = { 'OK' }
	local all = call('HGETALL', I(sid))
	for i = 1, #all, 2 do
		answer[#answer + 1] = all[i]
		answer[#answer + 1] = call('HGET', H(all[i + 1]), sid .. '/' .. all[i]) or ''
		answer[#answer + 1] = all[i + 1]
	end
	return answer
end

-- old: a session of the caller that is over.
function ops.bye(old)
	need_rare()
	return { purge(old) and 'OK' or 'MORE' }
end

