-- Namespaces, the folders: path to "perm uid gid mtime".

local function is_below(path, name)
	return string.sub(name, 1, #path + 1) == path .. '/'
end

-- Names and namespaces anywhere below a namespace; or only names that handles of locks/ hold or wait for.
local function below(path, held_only)
	local sessions = call('ZRANGE', S(), 0, -1)
	for i = 1, #sessions do
		local s = sessions[i]
		local list = call('HGETALL', I(s))
		for k = 1, #list, 2 do
			local member, kn = s .. '/' .. list[k], list[k + 1]
			if is_lock(kn) and is_plain(member) and is_below(path, asked_by(kn, member)) then
				return true
			end
		end
	end
	if held_only then
		return false
	end
	local found = false
	local folders = call('HKEYS', P .. 'n')
	for i = 1, #folders do
		found = found or is_below(path, folders[i])
	end
	if not found then
		each_file(function(name)
			found = found or is_below(path, name)
		end)
	end
	return found
end

local function namespaces_changed()
	call('HINCRBY', g, 'nv', 1)
	call('PUBLISH', P .. 'c', 'n')
end

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

-- mtime: ns, of which folders keep ms; nil or '-': stays.
function ops.nschmod(path, perm, uid, gid, mtime)
	local ns = namespace(path)
	if not ns then
		return { 'NOENT' }
	end
	local p, u, gr, m = string.match(ns, '^(%d+) (%d+) (%d+) (%d+)')
	if mtime and mtime ~= '-' then
		m = #mtime > 6 and string.sub(mtime, 1, -7) or '0'
	end
	call('HSET', P .. 'n', path, table.concat({ perm == '-' and p or perm, uid == '-' and u or uid,
		gid == '-' and gr or gid, m }, ' '))
	namespaces_changed()
	return { 'OK' }
end

function ops.nsmv(from, to, noreplace)
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
	if noreplace == '1' and (namespace(to) or in_use(to)) then
		return { 'EXIST' }
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
	local paths = call('HGETALL', P .. 'n')
	for i = 1, #paths, 2 do
		if paths[i] == from or is_below(from, paths[i]) then
			call('HDEL', P .. 'n', paths[i])
			call('HSET', P .. 'n', to .. string.sub(paths[i], #from + 1), paths[i + 1])
		end
	end
	local files = {}
	each_file(function(name)
		if is_below(from, name) then
			files[#files + 1] = name
		end
	end)
	for i = 1, #files do
		relocate(files[i], to .. string.sub(files[i], #from + 1))
	end
	namespaces_changed()
	return { 'OK' }
end

