-- The bytes of a value, of a file.

local function value_changed(name)
	if call('STRLEN', V(name)) == 0 then
		call('DEL', V(name))
		call('ZREM', P .. 'V', name)
	else
		call('ZADD', P .. 'V', int(now), name)
	end
	if call('EXISTS', N(name)) == 1 then
		call('HSET', N(name), 'mtime', int(now_us) .. '000', 'ctime', int(now_us) .. '000')
	end
end

local function write_value(name, off, data)
	call('SETRANGE', V(name), int(off), data)
	value_changed(name)
end

local function cut_value(name, size)
	local had = call('STRLEN', V(name))
	if size == 0 then
		call('DEL', V(name))
	elseif size < had then
		call('SET', V(name), call('GETRANGE', V(name), 0, int(size - 1)))
	elseif size > had then
		call('SETRANGE', V(name), int(size - 1), '\0')
	end
	value_changed(name)
end

