-- Values, through a hold.

function ops.rd(handle, kn, off, size)
	kn = where(handle, kn)
	if holding(handle, kn) == nil then
		return { 'LOST' }
	end
	if size == '0' then
		return { 'OK', '' }
	end
	return { 'OK', call('GETRANGE', V(string.sub(kn, 2)), off, int(tonumber(off) + tonumber(size) - 1)) }
end

-- What is written to by way of a hold is in use, even if its mount has not told yet.
local function in_use_again(handle, kn)
	if is_idle(kn, sid .. '/' .. handle) then
		call('HSET', K(), kn, 'u ' .. sid .. '/' .. handle)
	end
end

-- limit: server time after which the sender no longer believes in its hold. id: tells a repeated append.
function ops.wr(handle, kn, limit, max, off, id, data)
	kn = where(handle, kn)
	local name = string.sub(kn, 2)
	if not holding(handle, kn, 'x') then
		return { 'LOST' }
	end
	if now > tonumber(limit) then
		return { 'LATE' }
	end
	off = tonumber(off)
	if off < 0 then
		if call('GET', A(sid .. '/' .. handle)) == id then
			return { 'OK' }
		end
		off = call('STRLEN', V(name))
	end
	if off + #data > tonumber(max) then
		return { 'FBIG' }
	end
	in_use_again(handle, kn)
	write_value(name, off, data)
	call('SET', A(sid .. '/' .. handle), id)
	return { 'OK' }
end

function ops.trunc(handle, kn, limit, size)
	kn = where(handle, kn)
	if not holding(handle, kn, 'x') then
		return { 'LOST' }
	end
	if now > tonumber(limit) then
		return { 'LATE' }
	end
	in_use_again(handle, kn)
	cut_value(string.sub(kn, 2), tonumber(size))
	return { 'OK' }
end

-- Writes something, so that a WAIT after it covers every write before it.
function ops.sync_value(handle, kn, limit)
	if holding(handle, where(handle, kn)) == nil then
		return { 'LOST' }
	end
	if now > tonumber(limit) then
		return { 'LATE' }
	end
	call('HSET', M(sid), 'y', int(now_us))
	return { 'OK' }
end

