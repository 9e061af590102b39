-- Removing and renaming by way of locks/.

function ops.rm(handle, kn, limit)
	kn = where(handle, kn)
	local ln, name = string.sub(kn, 2), asked_by(kn, sid .. '/' .. handle)
	if not holding(handle, kn, 'x') then
		return { 'LOST' }
	end
	if now > tonumber(limit) then
		return { 'LATE' }
	end
	if has_file(name) then
		drop_name(name)
		return { 'OK' }
	end
	local had = call('DEL', V(ln))
	call('ZREM', P .. 'V', ln)
	return { had == 1 and 'OK' or 'NONE' }
end

function ops.mv(handle, kn, limit, handle2, kn2)
	kn, kn2 = where(handle, kn), where(handle2, kn2)
	local from, to = string.sub(kn, 2), string.sub(kn2, 2)
	if not holding(handle, kn, 'x') or not holding(handle2, kn2, 'x') then
		return { 'LOST' }
	end
	if now > tonumber(limit) then
		return { 'LATE' }
	end
	if call('EXISTS', V(from)) == 0 then
		return { 'NONE' }
	end
	call('SET', V(to), call('GET', V(from)))
	value_changed(to)
	local name = asked_by(kn, sid .. '/' .. handle)
	if has_file(name) then
		drop_name(name)
	else
		call('DEL', V(from))
		value_changed(from)
	end
	return { 'OK' }
end

