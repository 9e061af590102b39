-- Byte ranges, by open file. Sent twice, a set changes nothing more.

-- Does one who is in the way wait, through whomever, for the asker? Owners with two waits have threads, and may go on.
local function closes_circle(ln, own, want)
	if call('HEXISTS', E .. 'B', own) == 1 then
		return false
	end
	local todo, seen, steps = blockers(ln, own, want.mode, want.from, want.to), {}, 0
	while #todo > 0 and steps < STEPS_MAX do
		local other = table.remove(todo)[1]
		steps = steps + 1
		if other == own then
			return true
		end
		local wait = not seen[other] and call('HGET', E .. 'B', other)
		seen[other] = true
		if wait and not string.find(wait, ' ', 1, true) then
			local s = split(other)
			local kn = call('HGET', I(s), wait)
			local rec = kn and call('HGET', W(kn), s .. '/' .. wait)
			local w = rec and parse_want(rec)
			for _, blocker in ipairs(w and blockers(string.sub(kn, 2), other, w.mode, w.from, w.to) or {}) do
				todo[#todo + 1] = blocker
			end
		end
	end
	return false
end

-- wait: the handle of one that may wait, or ''. Answers with how many ranges the owner has then.
function ops.rset(file, wait, ticket, rec)
	local ln, want = opened(file), parse_want(rec)
	if not ln then
		return { 'LOST' }
	end
	local kn, own, member = 'R' .. ln, sid .. '/' .. want.owner, sid .. '/' .. wait
	local grant = wait ~= '' and call('HGET', H(kn), member)
	if grant then
		return { 'HAD', grant }
	end
	if want.mode ~= 'n' then
		if #blockers(ln, own, want.mode, want.from, want.to) > 0 then
			sweep()
		end
		local had = wait ~= '' and call('ZSCORE', Q(kn), member)
		if had then
			pump(kn)
			grant = call('HGET', H(kn), member)
			return grant and { 'HAD', grant } or { 'WAIT', int(tonumber(had)) }
		end
		local busy = #blockers(ln, own, want.mode, want.from, want.to) > 0
		if (busy or now < grace) and wait == '' then
			return { busy and 'BUSY' or 'GRACE' }
		elseif busy and closes_circle(ln, own, want) then
			return { 'DEADLK' }
		elseif busy or now < grace then
			ticket = take_ticket(ticket)
			call('HSET', W(kn), member, rec)
			call('HSET', I(sid), wait, kn)
			call('ZADD', Q(kn), int(ticket), member)
			local waits = call('HGET', E .. 'B', own)
			call('HSET', E .. 'B', own, waits and waits .. ' ' .. wait or wait)
			return { 'WAIT', int(ticket) }
		end
	end
	local left = set_range(ln, own, want)
	if not left then
		return { 'NOLCK' }
	end
	if want.mode ~= 'x' then
		pump(kn)
	end
	return { 'OK', int(left) }
end

-- A wish to wait no more. Answers with the grant, if that was faster.
function ops.rcancel(wait)
	local member = sid .. '/' .. wait
	local kn = call('HGET', I(sid), wait)
	local grant = kn and call('HGET', H(kn), member)
	if grant then
		drop_hold(kn, member)
	elseif kn then
		drop_wait(kn, member)
		pump(kn)
	end
	return { 'OK', grant or '' }
end

function ops.rtest(file, rec)
	local ln, want = opened(file), parse_want(rec)
	if not ln then
		return { 'LOST' }
	end
	local own = sid .. '/' .. want.owner
	if #blockers(ln, own, want.mode, want.from, want.to) > 0 then
		sweep()
	end
	local first = blockers(ln, own, want.mode, want.from, want.to)[1]
	if not first then
		return { 'OK' }
	end
	return { 'OK', first[2], first[3], first[4], first[7] == want.host and first[5] or '0', first[1] }
end

function ops.rdrop(file, owner)
	local ln = opened(file)
	if not ln then
		return { 'LOST' }
	end
	drop_owner(ln, sid .. '/' .. owner)
	return { 'OK' }
end

