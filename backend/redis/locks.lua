-- Locks.

local function remember_name(name, kn, member)
	if name and kn ~= 'L' .. name then
		call('HSET', E .. 'j', member, name)
	end
end

-- The hold is its mount's to keep, with that many tokens for whom it gives it to.
local function keep_hold(kn, member, tokens)
	call('HSET', K(), kn, 'u ' .. member)
	floor = floor + tokens
	call('HSET', g, 'f', int(floor))
end

-- keep: how many tokens more, if the mount wants to keep it when it is given back; or 0.
function ops.acq(handle, kn, mode, lo, hi, try, ticket, who, keep)
	local member, name = sid .. '/' .. handle, nil
	if is_lock(kn) and is_plain(member) then
		name = string.sub(kn, 2)
		kn = 'L' .. resolve(name)
	end
	kn = call('HGET', I(sid), handle) or kn
	local rec = call('HGET', H(kn), member)
	if rec then
		return { 'OK', rec, call('ZCARD', Q(kn)) > 0 and '1' or '0', tostring(call('HEXISTS', K(), kn)) }
	end
	local problem = name and (parent_problem(name) or (namespace(name) and { 'ISDIR' }))
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
			remember_name(name, kn, member)
			rec = give(kn, member, mode, slot, who)
			if keep ~= '0' and name and kn == 'L' .. name then
				keep_hold(kn, member, tonumber(keep))
				return { 'OK', rec, '0', '1' }
			end
			return { 'OK', rec, '0', '0' }
		end
	end
	if try == '1' then
		if now < grace then
			return { 'GRACE' }
		end
		return { is_lock(kn) and call('ZCARD', Q(kn)) == 0 and recall(kn) and 'AGAIN' or 'BUSY' }
	end
	remember_name(name, kn, member)
	ticket = take_ticket(ticket)
	call('HSET', W(kn), member, table.concat({ mode, int(lo), int(hi), int(now), who }, ' '))
	call('HSET', W(kn), '#', int(math.max(hi, tonumber(call('HGET', W(kn), '#')) or 0)))
	call('HSET', I(sid), handle, kn)
	call('ZADD', Q(kn), int(ticket), member)
	if call('ZCARD', Q(kn)) == 1 then
		contention(kn, 'w', member)
	end
	return { 'WAIT', int(ticket) }
end

-- how: c cleanly, k cleanly and it may be one to keep, l lost (the value may be half written); of a wait for ranges: c
-- confirmed, l not wanted any more
function ops.rel(handle, kn, how)
	local member = sid .. '/' .. handle
	kn = where(handle, kn)
	local rec = call('HGET', H(kn), member)
	if rec then
		if how == 'l' and string.sub(kn, 1, 1) == 'R' then
			need_rare()
			undo_range(kn, sid, rec)
		end
		if is_lock(kn) and string.sub(rec, 1, 1) == 'x' then
			call(how == 'l' and 'SADD' or 'SREM', P .. 'a', string.sub(kn, 2))
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
	kn = where(handle, kn)
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
	call('HDEL', K(), kn)
	add_hold(kn, member, mode, slot, token, int(now), who)
	pump(kn)
	return { 'OK', call('HGET', H(kn), member) }
end

-- What has become of a hold that is the mount's to keep: u it is in use again, by this one; i it is idle; f it is in use
-- and, from now on, as any other. want: that many tokens, the first of which is answered.
function ops.note(handle, kn, state, want, token, since, who)
	local member = sid .. '/' .. handle
	local kept, rec = call('HGET', K(), kn), call('HGET', H(kn), member)
	if not rec or not kept or string.sub(kept, 3) ~= member then
		return { 'NONE' }
	end
	local _, _, was = parse_hold(rec)
	-- Given back in order, now or between what was told before and this.
	if state == 'i' or tonumber(token) ~= was then
		call('SREM', P .. 'a', string.sub(kn, 2))
	end
	if state ~= 'i' then
		add_hold(kn, member, 'x', 0, tonumber(token), since, who)
	end
	if state == 'f' then
		call('HDEL', K(), kn)
	else
		call('HSET', K(), kn, state .. ' ' .. member)
	end
	local next = call('ZRANGE', Q(kn), 0, 0)[1]
	local wanted = next and (split(next) ~= sid or known_as(kn, next) ~= kn) and '1' or '0'
	if want == '0' then
		return { 'OK', '0', wanted }
	end
	local first = next_token()
	floor = floor + tonumber(want)
	call('HSET', g, 'f', int(floor))
	return { 'OK', int(first), wanted }
end

-- Whoever asked for a lock that was kept may ask again.
function ops.nudge(s, kn)
	tell(s, 'k ' .. kn)
	return { 'OK' }
end

-- The grace is over: a wait looks again.
function ops.poke(kn)
	sweep()
	pump(kn)
	if is_lock(kn) and resolve(string.sub(kn, 2)) ~= string.sub(kn, 2) then
		pump('L' .. resolve(string.sub(kn, 2)))
	end
	return { 'OK' }
end

-- What the session had before the server lost its memory.
function ops.claim(handle, kn, mode, slot, token, since, who)
	local member, name = sid .. '/' .. handle, is_lock(kn) and string.sub(kn, 2)
	if name then
		kn = 'L' .. resolve(name)
	end
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
	remember_name(name, kn, member)
	add_hold(kn, member, mode, tonumber(slot), tonumber(token), since, who)
	if tonumber(token) > floor then
		floor = tonumber(token)
		call('HSET', g, 'f', int(floor))
	end
	return { 'OK' }
end

-- The holder's mount gives it up first, then the next one gets it. A hold that was the mount's to keep is known by its
-- token too: another may have it by now.
ops['break'] = function(target)
	local member, seen = string.match(target, '^([^#]*)#?(%d*)$')
	local s, handle = split(member or '')
	local kn = s and call('HGET', I(s), handle)
	local rec = kn and call('HGET', H(kn), member)
	if not rec then
		return { 'NONE' }
	elseif recall(kn) then
		return { 'AGAIN' }
	end
	local _, _, token = parse_hold(rec)
	if seen ~= '' and tonumber(seen) ~= token then
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

