-- Through an open file.

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

