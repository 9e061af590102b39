-- Looking.

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
	if is_lock(kn) then
		name = resolve(name)
		kn = 'L' .. name
	end
	local first = ''
	local fields = call('HGETALL', H(kn))
	local holders = 0
	for i = 1, #fields, 2 do
		if fields[i] ~= '#' and not is_idle(kn, fields[i]) then
			holders = holders + 1
			first = fields[i + 1]
		end
	end
	return { 'OK', 'l', tostring(call('STRLEN', V(name))), call('ZSCORE', P .. 'V', name) or '0', int(holders),
		tostring(call('ZCARD', Q(kn))), first, tostring(call('SISMEMBER', P .. 'a', name)) }
end

local lock_names = nil

-- A name of a file's lock for the eye, or nil where it has none.
local function name_of(ln)
	if not lock_names then
		lock_names = {}
		local moved = call('HGETALL', MOVED)
		for i = 1, #moved, 2 do
			lock_names[moved[i + 1]] = moved[i]
			lock_names[moved[i]] = lock_names[moved[i]] or false
		end
	end
	if lock_names[ln] == nil then
		return ln
	end
	return lock_names[ln] or nil
end

local function shown(kn, member)
	if not is_lock(kn) then
		return kn
	elseif is_plain(member) then
		return 'L' .. asked_by(kn, member)
	end
	local name = name_of(string.sub(kn, 2))
	return name and 'L' .. name
end

-- as: the name that was asked about.
local function add_view(answer, kn, as)
	local fields = call('HGETALL', H(kn))
	for i = 1, #fields, 2 do
		local name = fields[i] ~= '#' and not is_idle(kn, fields[i]) and (as or shown(kn, fields[i]))
		if name then
			local member = fields[i]
			if call('HEXISTS', K(), kn) == 1 then
				local _, _, token = parse_hold(fields[i + 1])
				member = member .. '#' .. int(token)
			end
			answer[#answer + 1] = { 'h', name, member, fields[i + 1] }
		end
	end
	local waiters = call('ZRANGE', Q(kn), 0, -1)
	for i = 1, #waiters do
		local rec = call('HGET', W(kn), waiters[i])
		local name = rec and (as or shown(kn, waiters[i]))
		if name then
			answer[#answer + 1] = { 'w', name, waiters[i], rec }
		end
	end
end

-- Kind and name, or just the kind: all of it.
function ops.view(kn)
	local answer = { 'OK' }
	if #kn > 1 then
		add_view(answer, is_lock(kn) and 'L' .. resolve(string.sub(kn, 2)) or kn, kn)
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
		local list = call('HGETALL', I(sessions[i]))
		for k = 1, #list, 2 do
			local kn = list[k + 1]
			local member = sessions[i] .. '/' .. list[k]
			local name = string.sub(kn, 1, 1) == kind and not is_idle(kn, member) and shown(kn, member)
			if name and not seen[name] then
				seen[name] = true
				answer[#answer + 1] = name
			end
		end
	end
	if kind == 'L' then
		each_file(function(name)
			if call('ZSCORE', P .. 'V', resolve(name)) then
				answer[#answer + 1] = 'L' .. name
			end
		end)
		local names = call('HKEYS', P .. 'n')
		for k = 1, #names do
			answer[#answer + 1] = 'N' .. names[k]
		end
	end
	return answer
end

