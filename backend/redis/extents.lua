-- Byte ranges of a file, fcntl(2). Each owner's are one text, "SEQ HOST " and then, from low to high and apart,
-- "MODE START-END:PID;". Offsets have 19 digits and are compared as text: a Lua number cannot hold them all. What comes
-- before and behind a wanted range is sent along. Waits are those of a kind 'R': their records in W, granted ones in H.
local OWNER_MAX, FILE_MAX, STEPS_MAX = 1000, 10000, 64
local EXTENT = '(%a)(%d+)%-(%d+):(%d+);'

-- One in the way of each other owner: { owner, mode, start, end, pid, when it began, host }, who locked first leading.
local function blockers(ln, own, mode, from, to)
	local found = {}
	local all = call('HGETALL', R(ln))
	for i = 1, #all, 2 do
		if all[i] ~= own then
			for m, a, z, pid in string.gmatch(all[i + 1], EXTENT) do
				if a > to then
					break
				elseif z >= from and (mode == 'x' or m == 'x') then
					local seq, host = string.match(all[i + 1], '^(%d+) (%S*) ')
					found[#found + 1] = { all[i], m, a, z, pid, tonumber(seq), host }
					break
				end
			end
		end
	end
	table.sort(found, function(a, b)
		return a[6] < b[6]
	end)
	return found
end

local function count(text)
	return select(2, string.gsub(text or '', ';', ''))
end

local function forget_owner(ln, own)
	local s = split(own)
	call('HDEL', R(ln), own)
	local left = call('HKEYS', R(ln))
	for i = 1, #left do
		if split(left[i]) == s then
			return
		end
	end
	call('HDEL', E .. 'l:' .. s, ln)
end

-- Locks, converts or (mode n) unlocks, which is for others to allow. Returns how many ranges the owner has then, or nil
-- past a bound.
local function set_range(ln, own, want)
	local had = call('HGET', R(ln), own)
	local mode, from, to, pid = want.mode, want.from, want.to, want.pid
	local out, right, placed = {}, nil, false
	local function place()
		if not placed and mode ~= 'n' then
			out[#out + 1] = mode .. from .. '-' .. to .. ':' .. pid .. ';'
		end
		if not placed and right then
			out[#out + 1] = right
		end
		placed = true
	end
	for m, a, z, p in string.gmatch(had or '', EXTENT) do
		local whole = m .. a .. '-' .. z .. ':' .. p .. ';'
		if z < want.before then
			out[#out + 1] = whole
		elseif a > want.behind then
			place()
			out[#out + 1] = whole
		elseif m == mode then
			from = a < from and a or from
			to = z > to and z or to
		else
			if a < want.from then
				out[#out + 1] = z < want.from and whole or m .. a .. '-' .. want.before .. ':' .. p .. ';'
			end
			if z > want.to then
				right = a > want.to and whole or m .. want.behind .. '-' .. z .. ':' .. p .. ';'
			end
		end
	end
	place()
	if #out > count(had) then
		local total = #out - count(had)
		local all = call('HVALS', R(ln))
		for i = 1, #all do
			total = total + count(all[i])
		end
		if #out > OWNER_MAX or total > FILE_MAX then
			return nil
		end
	end
	if #out == 0 then
		if had then
			forget_owner(ln, own)
		end
	else
		local head = had and string.match(had, '^%d+ %S* ') or int(now_us) .. ' ' .. want.host .. ' '
		call('HSET', R(ln), own, head .. table.concat(out))
		call('HSET', E .. 'l:' .. split(own), ln, '1')
	end
	return #out
end

-- before and behind: the offsets next to it, or itself at the ends of the space.
local function parse_want(rec)
	local w = {}
	w.mode, w.from, w.to, w.before, w.behind, w.pid, w.owner, w.host =
		string.match(rec, '^(%a) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%S*)$')
	return w
end

-- Owners that wait, with their handles: E:B.
function stop_waiting(kn, member)
	local s, handle = split(member)
	local rec = call('HGET', W(kn), member)
	local own = rec and s .. '/' .. parse_want(rec).owner
	local waits = own and call('HGET', E .. 'B', own)
	if not waits then
		return
	end
	local left = {}
	for h in string.gmatch(waits, '%S+') do
		if h ~= handle then
			left[#left + 1] = h
		end
	end
	if #left == 0 then
		call('HDEL', E .. 'B', own)
	else
		call('HSET', E .. 'B', own, table.concat(left, ' '))
	end
end

-- Serves in the order of the queue all that can be had now. One that was exclusive before and is shared now may let in
-- another that is before it.
function pump_ranges(kn)
	local ln, again = string.sub(kn, 2), true
	while again do
		again = false
		local queue = call('ZRANGE', Q(kn), 0, -1)
		for i = 1, #queue do
			local member = queue[i]
			local s, handle = split(member)
			local rec = call('HGET', W(kn), member)
			local want = rec and parse_want(rec)
			if not want or is_orphan(member) then
				drop_wait(kn, member)
			elseif #blockers(ln, s .. '/' .. want.owner, want.mode, want.from, want.to) == 0 then
				local had = call('HGET', R(ln), s .. '/' .. want.owner)
				drop_wait(kn, member, true)
				local grant = not set_range(ln, s .. '/' .. want.owner, want) and 'nolck' or
					(had and 'had ' or 'new ') .. rec
				call('HSET', H(kn), member, grant)
				tell_granted(kn, member, grant)
				again = again or want.mode == 's'
			end
		end
	end
end

-- A grant that its mount does not want any more. Only one to an owner that had nothing before can be undone.
function undo_range(kn, s, grant)
	local rec = string.match(grant, '^new (.*)$')
	local want = rec and parse_want(rec)
	if want then
		want.mode = 'n'
		set_range(string.sub(kn, 2), s .. '/' .. want.owner, want)
	end
end

local function drop_owner(ln, own)
	if call('HEXISTS', R(ln), own) == 1 then
		forget_owner(ln, own)
		pump('R' .. ln)
	end
end

