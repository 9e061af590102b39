local function is_internal(ln)
	return string.byte(ln) == 1
end

-- Calls each(name) for every name that has a file, or a value. Asks nobody whether the folder still is.
local function each_file(each)
	local files = call('SMEMBERS', FILES)
	local seen, moved = {}, {}
	for i = 1, #files do
		seen[files[i]] = true
		each(files[i])
	end
	local list = call('HGETALL', MOVED)
	for i = 1, #list, 2 do
		moved[list[i]] = true
		if not seen[list[i]] and call('ZSCORE', P .. 'V', list[i + 1]) then
			each(list[i])
		end
	end
	local values = call('ZRANGE', P .. 'V', 0, -1)
	for i = 1, #values do
		if not seen[values[i]] and not moved[values[i]] and not is_internal(values[i]) then
			each(values[i])
		end
	end
end

