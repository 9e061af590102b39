-- What is rarely needed by the operations on locks: its functions are made at the first need of them, for making them
-- takes longer than to acquire a lock. (In the other scripts they are made at once.)
local rare, settle_inodes, pump_ranges, stop_waiting, undo_range, bury, purge

local function need_rare()
	if rare then
		rare()
		rare = nil
	end
end

-- A hold or wait is no more: an orphan may have lived by it, or a name's other lock.
local function settle(kn, member)
	if call('EXISTS', E .. 'd', E .. 'j') > 0 then
		need_rare()
		settle_inodes(kn, member)
	end
end

-- The name by which a mount knows the lock of its member: that it asked for, or F and the lock's own.
local function known_as(kn, member)
	if not is_lock(kn) then
		return kn
	end
	return is_plain(member) and 'L' .. asked_by(kn, member) or 'F' .. string.sub(kn, 2)
end

-- word: w somebody waits now, namely `waiter`; u nobody does any more.
local function contention(kn, word, waiter)
	if string.sub(kn, 1, 1) == 'R' then
		return
	end
	local seen = {}
	local members = call('HKEYS', H(kn))
	for i = 1, math.min(#members, 1000) do
		local s = split(members[i])
		local name = s and known_as(kn, members[i])
		if s and not seen[s .. name] then
			seen[s .. name] = true
			local said = word
			if word == 'w' and s == sid and known_as(kn, waiter) == name then
				said = 'o' -- its own waiter, and it knows. Not counted: it only makes the holder know too
			elseif word == 'w' and call('HEXISTS', K(), kn) == 1 then
				call('HINCRBY', M(s), 'nw', 1) -- counted, for it must not be lost
				said = 'W'
			end
			tell(s, said .. ' ' .. name)
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

local function take_ticket(ticket)
	ticket = tonumber(ticket)
	if ticket == 0 then
		ticket = math.max((tonumber(call('HGET', g, 'tk')) or 0) + 1, now_us)
		call('HSET', g, 'tk', int(ticket))
	end
	return ticket
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
	if is_lock(kn) then
		call('HDEL', K(), kn)
		if call('HLEN', H(kn)) == 1 then
			call('DEL', H(kn))
		end
		settle(kn, member)
	end
end

local function drop_wait(kn, member, keep_index)
	local s, handle = split(member)
	local had = call('ZREM', Q(kn), member)
	if string.sub(kn, 1, 1) == 'R' then
		need_rare()
		stop_waiting(kn, member)
	end
	call('HDEL', W(kn), member)
	if not keep_index then
		call('HDEL', I(s), handle)
	end
	if had == 1 and call('ZCARD', Q(kn)) == 0 then
		call('DEL', W(kn))
		contention(kn, 'u')
	end
	if is_lock(kn) and not keep_index then
		settle(kn, member)
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

local function tell_granted(kn, member, rec)
	local s, handle = split(member)
	call('HINCRBY', M(s), 'ng', 1)
	local more = call('ZCARD', Q(kn)) > 0 and '1' or '0'
	tell(s, 'g ' .. s .. ' ' .. handle .. ' ' .. more .. ' ' .. rec)
end

local function promote(kn, member, mode, slot, who)
	drop_wait(kn, member, true)
	tell_granted(kn, member, give(kn, member, mode, slot, who))
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
	elseif string.sub(kn, 1, 1) == 'R' then
		need_rare()
		pump_ranges(kn)
	else
		pump_sem(kn)
	end
end

local function sweep()
	if not vouched then
		return
	end
	local late = call('ZRANGE', S(), '-inf', int(now), 'BYSCORE', 'LIMIT', 0, 4, 'WITHSCORES')
	for i = 1, #late, 2 do
		if late[i] ~= sid and now >= dead_at(late[i], tonumber(late[i + 1])) then
			need_rare()
			purge(late[i])
		end
	end
end

