-- What calls about files/ share. Every one carries three things more: limit, the server time after which its mount
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

