-- Holds that their mount may keep, idle, when they are given back: kind and name to 'u' (in use, when it last told) or
-- 'i' (idle), and the member. What the record of such a hold says lags behind (note).
local function K() return E .. 'K' end

local function is_idle(kn, member)
	return call('HGET', K(), kn) == 'i ' .. member
end

-- Asks the mount that keeps a lock for it: it gives it back, or tells that it is in use. False: nobody keeps it.
local function recall(kn)
	local kept = call('HGET', K(), kn)
	if not kept then
		return false
	end
	local s = string.match(kept, '^. ([^/]*)')
	call('HINCRBY', M(s), 'nw', 1)
	tell(s, 'y ' .. sid .. ' ' .. kn)
	return true
end

