-- What changes names finds none of them kept by a mount that does not use it.
local changes = { nsmk = true, nsrm = true, nsmv = true, funlink = true, frename = true, flink = true }
if changes[op] and inc == epoch and call('EXISTS', K()) == 1 then
	local kept, asked = call('HKEYS', K()), false
	for i = 1, #kept do
		local name = string.sub(kept[i], 2)
		for k = first_arg, first_arg + 1 do
			local path = ARGV[k] or ''
			if name == path or string.sub(name, 1, #path + 1) == path .. '/' then
				asked = recall(kept[i]) or asked
			end
		end
	end
	if asked then
		return { 'AGAIN' }
	end
end

