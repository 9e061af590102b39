-- Files by name: what changes or lists names.

function ops.funlink(name)
	if done_before() then
		return { 'OK' }
	end
	local ln, why = find(name)
	if not ln then
		return { why }
	elseif is_locked(name) then
		return { 'INUSE' }
	end
	drop_name(name)
	return done()
end

function ops.frename(from, to, noreplace)
	if done_before() then
		return { 'OK' }
	end
	if namespace(from) then
		if is_below(from, to) or string.find(to, '^%.') or string.find(to, '/.', 1, true) then
			return { 'INVAL' }
		end
		local answer = ops.nsmv(from, to, noreplace)
		return answer[1] == 'OK' and done() or answer
	end
	local a, why = find(from)
	if not a then
		return { why }
	end
	local b, nothing = find(to)
	if noreplace == '1' and (b or nothing == 'ISDIR') then
		return { 'EXIST' }
	elseif not b and nothing ~= 'NOENT' or not b and parent_problem(to) then
		return { nothing }
	elseif a == b then
		return { 'OK' }
	elseif is_locked(from) or is_locked(to) then
		return { 'INUSE' }
	end
	if b then
		drop_name(to)
	end
	call('HSET', N(a), 'ctime', int(now_us) .. '000')
	relocate(from, to)
	return done()
end

local function name_is_free(name)
	local ln, why = find(name)
	if ln or why == 'ISDIR' then
		return false, 'EXIST'
	elseif why ~= 'NOENT' or parent_problem(name) then
		return false, why
	end
	return true
end

function ops.flink(from, to)
	if done_before() then
		return { 'OK' }
	end
	local ln, why = find(from)
	if not ln then
		return { why == 'ISDIR' and 'PERM' or why }
	end
	local free, problem = name_is_free(to)
	if not free then
		return { problem }
	elseif is_locked(to) then
		return { 'INUSE' }
	end
	call('HINCRBY', N(ln), 'nlink', 1)
	call('HSET', N(ln), 'ctime', int(now_us) .. '000')
	call('SADD', FILES, to)
	set_lock_of(to, ln)
	return done()
end

function ops.fsymlink(target, name, uid, gid)
	if done_before() then
		return { 'OK' }
	end
	local free, problem = name_is_free(name)
	if not free then
		return { problem }
	end
	call('HSET', N(make_inode(name, 'l', '511', uid, gid)), 'to', target)
	return done()
end

function ops.freadlink(name)
	local ln, why = find(name)
	if not ln then
		return { why == 'ISDIR' and 'INVAL' or why }
	end
	local target = call('HGET', N(ln), 'to')
	return target and { 'OK', target } or { 'INVAL' }
end

-- What lies directly in a folder.
function ops.flist(path)
	if path ~= '' and not namespace(path) then
		return parent_problem(path) or { in_use(path) and 'NOTDIR' or 'NOENT' }
	end
	local lead, answer = path == '' and '' or path .. '/', { 'OK' }
	local function add(kind, name)
		if string.sub(name, 1, #lead) == lead and not string.find(name, '/', #lead + 1, true) then
			answer[#answer + 1] = kind .. name
		end
	end
	each_file(function(name)
		if string.sub(name, 1, #lead) == lead then
			add(call('HGET', N(resolve(name)), 't') == 'l' and 'K' or 'L', name)
		end
	end)
	local folders = call('HKEYS', P .. 'n')
	for i = 1, #folders do
		add('N', folders[i])
	end
	return answer
end

function ops.fsetattrn(name, mode, uid, gid, mtime)
	if namespace(name) then
		return ops.nschmod(name, mode, uid, gid, mtime)
	end
	local ln, why = find(name)
	return ln and set_attributes(ln, mode, uid, gid, mtime) or { why }
end

