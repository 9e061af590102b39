-- Of a dead session.
local function forget(kn, member)
	local rec = call('HGET', H(kn), member)
	if rec then
		if is_lock(kn) and string.sub(rec, 1, 1) == 'x' and not is_idle(kn, member) then
			call('SADD', P .. 'a', string.sub(kn, 2))
		end
		drop_hold(kn, member)
	else
		drop_wait(kn, member)
	end
end

-- Takes out a dead session, at most a thousand of its handles at a time. True when it is gone.
function purge(s)
	local page = call('HSCAN', I(s), 0, 'COUNT', 1000)[2]
	local touched = {}
	for i = 1, #page, 2 do
		forget(page[i + 1], s .. '/' .. page[i])
		call('HDEL', I(s), page[i])
		touched[page[i + 1]] = true
	end
	-- Ranges after the waits for them, files after the locks on them: what is not used any more can go then.
	page = call('HSCAN', E .. 'l:' .. s, 0, 'COUNT', 1000)[2]
	for i = 1, #page, 2 do
		local owners = call('HKEYS', R(page[i]))
		for k = 1, #owners do
			if split(owners[k]) == s then
				call('HDEL', R(page[i]), owners[k])
			end
		end
		call('HDEL', E .. 'l:' .. s, page[i])
		touched['R' .. page[i]] = true
	end
	if call('HLEN', I(s)) == 0 and call('HLEN', E .. 'l:' .. s) == 0 then
		page = call('HSCAN', E .. 'o:' .. s, 0, 'COUNT', 1000)[2]
		for i = 1, #page, 2 do
			close_file(s, page[i], page[i + 1])
		end
	end
	local gone = call('EXISTS', I(s), E .. 'l:' .. s, E .. 'o:' .. s) == 0
	if gone then
		call('ZREM', S(), s)
		call('DEL', M(s), I(s), B(s))
	end
	for kn in pairs(touched) do
		pump(kn)
	end
	return gone
end

