if op ~= 'hello' then
	if inc ~= epoch then
		return { 'INC' }
	end
	local current = call('HGET', M(sid), 'cn')
	if not current then
		return { 'GONE' }
	elseif current ~= ARGV[7] then
		return { 'OLD' }
	end
end
return ops[op](unpack(ARGV, first_arg))
