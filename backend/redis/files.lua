-- files/: names and open files. Every call carries three things more: limit, the server time after which its mount
-- does not believe in its session; a number by which a repeated call is known; for how many ms that is to be kept.
local limit, id, keep = tonumber(ARGV[8]), ARGV[9], ARGV[10]
first_arg = 11

local DONE = P .. 'k:' .. string.match(sid, '^[^.]*') .. '/' .. (id or '')

local function done_before()
	return call('EXISTS', DONE) == 1
end

-- What cannot be done twice was done.
local function done()
	call('SET', DONE, '1', 'PX', keep)
	return { 'OK' }
end

local function describe(ln)
	local m = call('HMGET', N(ln), 't', 'mode', 'uid', 'gid', 'nlink', 'ino', 'mtime', 'ctime', 'to')
	local size = m[1] == 'l' and #m[9] or call('STRLEN', V(ln))
	return { 'OK', m[1], m[2], m[3], m[4], int(size), m[5], m[6], m[7], m[8] }
end

-- The inode of an open file; nil: of a session that is over, of another incarnation.
local function opened(handle)
	return call('HGET', E .. 'o:' .. sid, handle)
end

function ops.fstatn(name)
	local ns = namespace(name)
	if ns then
		return { 'OK', 'd', ns }
	end
	local ln, why = find(name)
	return ln and describe(ln) or { why }
end

-- how: some of c, e, t for O_CREAT, O_EXCL, O_TRUNC. Answers with the inode's lock.
function ops.fopen(handle, name, how, mode, uid, gid)
	local ln, why = opened(handle), nil
	if ln then
		return { 'OK', ln }
	end
	ln, why = find(name)
	local made = not ln and why == 'NOENT' and string.find(how, 'c') and not parent_problem(name)
	if made then
		ln = make_inode(name, 'f', mode, uid, gid)
	elseif not ln then
		return { why == 'ISDIR' and string.find(how, 'e') and 'EXIST' or why }
	elseif string.find(how, 'e') and not done_before() then
		return { 'EXIST' }
	elseif call('HGET', N(ln), 't') == 'l' then
		return { 'LOOP' }
	end
	if string.find(how, 't') and not made then
		cut_value(ln, 0)
	end
	call('HSET', E .. 'o:' .. sid, handle, ln)
	call('HINCRBY', E .. 'O', ln, 1)
	if string.find(how, 'e') then
		done()
	end
	return { 'OK', ln }
end

function ops.fclose(handle)
	local ln = opened(handle)
	if ln then
		close_file(sid, handle, ln)
	end
	return { 'OK' }
end

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
		if is_below(from, to) then
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

-- What is '-' stays.
local function set_attributes(ln, mode, uid, gid, mtime)
	local fields = { mode = mode, uid = uid, gid = gid, mtime = mtime }
	for field, value in pairs(fields) do
		if value ~= '-' then
			call('HSET', N(ln), field, value)
		end
	end
	call('HSET', N(ln), 'ctime', int(now_us) .. '000')
	return { 'OK' }
end

function ops.fsetattrn(name, mode, uid, gid, mtime)
	if namespace(name) then
		return ops.nschmod(name, mode, uid, gid)
	end
	local ln, why = find(name)
	return ln and set_attributes(ln, mode, uid, gid, mtime) or { why }
end

function ops.fsetattr(handle, mode, uid, gid, mtime)
	local ln = opened(handle)
	return ln and set_attributes(ln, mode, uid, gid, mtime) or { 'LOST' }
end

function ops.fstat(handle)
	local ln = opened(handle)
	return ln and describe(ln) or { 'LOST' }
end

function ops.fread(handle, off, size)
	local ln = opened(handle)
	if not ln then
		return { 'LOST' }
	elseif size == '0' then
		return { 'OK', '' }
	end
	return { 'OK', call('GETRANGE', V(ln), off, int(tonumber(off) + tonumber(size) - 1)) }
end

function ops.fwrite(handle, off, max, data)
	local ln = opened(handle)
	if not ln then
		return { 'LOST' }
	elseif now > limit then
		return { 'LATE' }
	end
	off = tonumber(off)
	local append = off < 0
	if append and done_before() then
		return { 'OK' }
	end
	off = append and call('STRLEN', V(ln)) or off
	if off + #data > tonumber(max) then
		return { 'FBIG' }
	end
	write_value(ln, off, data)
	return append and done() or { 'OK' }
end

function ops.ftrunc(handle, size)
	local ln = opened(handle)
	if not ln then
		return { 'LOST' }
	elseif now > limit then
		return { 'LATE' }
	end
	cut_value(ln, tonumber(size))
	return { 'OK' }
end

-- Writes something, so that a WAIT after it covers every write before it.
function ops.fsync(handle)
	if not opened(handle) then
		return { 'LOST' }
	elseif now > limit then
		return { 'LATE' }
	end
	call('HSET', M(sid), 'y', int(now_us))
	return { 'OK' }
end

