-- What a handle holds or waits for. Its mount need not know that the name has another lock now.
local function where(handle, kn)
	return call('HGET', I(sid), handle) or kn
end

local function holding(handle, kn, mode)
	local rec = call('HGET', H(kn), sid .. '/' .. handle)
	if not rec or call('SISMEMBER', B(sid), handle) == 1 then
		return nil
	end
	return mode == nil or string.sub(rec, 1, 1) == mode
end

