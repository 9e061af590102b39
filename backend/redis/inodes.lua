-- Names and inodes of files/. An inode is named by its lock, normally the name under which the file was made. A name
-- whose own lock belongs to an inode that lives elsewhere (renamed away, or unlinked and still open) has a fresh one,
-- which begins with a byte that no name has.

-- Rises through a loss of memory, as tokens do.
local function next_number()
	local n = int(math.max((tonumber(call('HGET', g, 'in')) or 0) + 1, now_us))
	call('HSET', g, 'in', n)
	return n
end

-- Is the inode in use by files/, so that it must outlive its names?
local function is_kept(ln)
	if call('HEXISTS', E .. 'O', ln) == 1 or call('EXISTS', R(ln)) == 1 then
		return true
	end
	local lists = { call('HKEYS', H('L' .. ln)), call('ZRANGE', Q('L' .. ln), 0, -1) }
	for i = 1, 2 do
		for k = 1, #lists[i] do
			if not is_plain(lists[i][k]) then
				return true
			end
		end
	end
	return false
end

local function delete_inode(ln)
	call('SREM', E .. 'd', ln)
	call('DEL', V(ln), N(ln))
	call('ZREM', P .. 'V', ln)
end

-- The name gets its own lock back, once nobody uses the other one and no inode elsewhere uses its own.
local function tidy(name)
	local ln = call('HGET', MOVED, name)
	if ln and not has_file(name) and not is_kept(ln) and
		call('EXISTS', N(name), V(name), V(ln), H('L' .. ln), Q('L' .. ln)) == 0 then
		call('HDEL', MOVED, name)
		call('SREM', P .. 'a', ln)
	end
end

local function settle_inode(ln)
	if call('SISMEMBER', E .. 'd', ln) == 1 and not is_kept(ln) then
		delete_inode(ln)
		tidy(ln)
	end
end

-- One that the incarnation before this one kept.
function bury(ln)
	delete_inode(ln)
	tidy(ln)
end

function settle_inodes(kn, member)
	local asked = call('HGET', E .. 'j', member)
	if asked then
		call('HDEL', E .. 'j', member)
		tidy(asked)
	end
	settle_inode(string.sub(kn, 2))
end

-- Handles of locks/ asked for a name: they go with it to another lock.
local function move_parties(name, from, to)
	local a, b = 'L' .. from, 'L' .. to
	local held = call('HGETALL', H(a))
	local function index(member)
		local s, handle = split(member)
		call('HSET', I(s), handle, b)
		if to == name then
			call('HDEL', E .. 'j', member)
		else
			call('HSET', E .. 'j', member, name)
		end
	end
	for i = 1, #held, 2 do
		local member = held[i]
		if member ~= '#' and is_plain(member) and asked_by(a, member) == name then
			call('HDEL', K(), a)
			call('HDEL', H(a), member)
			call('HSET', H(b), member, held[i + 1], '#', string.sub(held[i + 1], 1, 1))
			index(member)
		end
	end
	if call('HLEN', H(a)) == 1 then
		call('DEL', H(a))
	end
	local queue = call('ZRANGE', Q(a), 0, -1, 'WITHSCORES')
	for i = 1, #queue, 2 do
		local member = queue[i]
		if is_plain(member) and asked_by(a, member) == name then
			call('HSET', W(b), member, call('HGET', W(a), member), '#', '1')
			call('ZADD', Q(b), queue[i + 1], member)
			call('ZREM', Q(a), member)
			call('HDEL', W(a), member)
			index(member)
		end
	end
	if #queue > 0 then
		if call('ZCARD', Q(a)) == 0 then
			call('DEL', W(a))
			contention(a, 'u')
		end
		pump(a)
		pump(b)
	end
end

local function set_lock_of(name, ln)
	local was = resolve(name)
	if ln == name then
		call('HDEL', MOVED, name)
	else
		call('HSET', MOVED, name, ln)
	end
	if was ~= ln then
		move_parties(name, was, ln)
	end
end

-- No file has this name any more.
local function vacate(name)
	call('SREM', FILES, name)
	if call('EXISTS', N(name)) == 1 then
		set_lock_of(name, '\1' .. next_number())
	else
		set_lock_of(name, name)
	end
end

local function make_inode(name, kind, mode, uid, gid, mtime)
	local ln = resolve(name)
	mtime = mtime or int(now_us) .. '000'
	call('HSET', N(ln), 't', kind, 'mode', mode, 'uid', uid, 'gid', gid, 'nlink', '1', 'ino', next_number(),
		'mtime', mtime, 'ctime', mtime)
	call('SADD', FILES, name)
	return ln
end

-- The inode of a name, or nil and why not. A value that came by way of locks/ becomes a file when it is first seen.
local function find(name)
	local problem = parent_problem(name)
	if problem then
		return nil, problem[1]
	elseif namespace(name) then
		return nil, 'ISDIR'
	end
	local ln = resolve(name)
	if not has_file(name) then
		local mtime = call('ZSCORE', P .. 'V', ln)
		if not mtime then
			return nil, 'NOENT'
		end
		make_inode(name, 'f', '420', '0', '0', int(tonumber(mtime)) .. '000000')
	end
	return ln
end

-- Unlinks a name that has a file.
local function drop_name(name)
	local ln = resolve(name)
	call('HSET', N(ln), 'ctime', int(now_us) .. '000')
	local gone = call('HINCRBY', N(ln), 'nlink', -1) <= 0
	if gone and is_kept(ln) then
		call('SADD', E .. 'd', ln)
		gone = false
	elseif gone then
		delete_inode(ln)
	end
	vacate(name)
	if gone and ln ~= name then
		tidy(ln)
	end
end

-- A file gets another name, which no file has. An inode that nobody uses gets the lock of its new name.
local function relocate(from, to)
	local ln, file = resolve(from), has_file(from)
	if resolve(to) == to and call('EXISTS', N(to), V(to)) == 0 and not is_kept(ln) and
		(call('HGET', N(ln), 'nlink') or '1') == '1' then
		if call('EXISTS', N(ln)) == 1 then
			call('RENAME', N(ln), N(to))
		end
		local mtime = call('ZSCORE', P .. 'V', ln)
		if mtime then
			call('RENAME', V(ln), V(to))
			call('ZREM', P .. 'V', ln)
			call('ZADD', P .. 'V', mtime, to)
		end
	else
		if not file then
			make_inode(from, 'f', '420', '0', '0')
			file = true
		end
		set_lock_of(to, ln)
	end
	if file then
		call('SADD', FILES, to)
	end
	vacate(from)
	if ln ~= from then
		tidy(ln)
	end
end

-- Is it held by a handle of locks/?
local function is_locked(name)
	local kn = 'L' .. resolve(name)
	local members = call('HKEYS', H(kn))
	for i = 1, #members do
		if members[i] ~= '#' and is_plain(members[i]) and asked_by(kn, members[i]) == name then
			return true
		end
	end
	return false
end

local function close_file(s, handle, ln)
	call('HDEL', E .. 'o:' .. s, handle)
	call('DEL', A(s .. '/' .. handle))
	if call('HINCRBY', E .. 'O', ln, -1) <= 0 then
		call('HDEL', E .. 'O', ln)
		settle_inode(ln)
	end
end

