-- Opening, closing and looking up files.

function ops.fstatn(name)
	local ns = namespace(name)
	if ns then
		return { 'OK', 'd', ns }
	end
	local ln, why = find(name)
	return ln and describe(ln) or { why }
end

-- how: some of c, e, t for O_CREAT, O_EXCL, O_TRUNC. Answers with the inode's lock.
function ops.fopen(handle, name, how, mode, uid, gid)
	local ln, why = opened(handle), nil
	if ln then
		return { 'OK', ln }
	end
	ln, why = find(name)
	local made = not ln and why == 'NOENT' and string.find(how, 'c') and not parent_problem(name)
	if made then
		ln = make_inode(name, 'f', mode, uid, gid)
	elseif not ln then
		return { why == 'ISDIR' and string.find(how, 'e') and 'EXIST' or why }
	elseif string.find(how, 'e') and not done_before() then
		return { 'EXIST' }
	elseif call('HGET', N(ln), 't') == 'l' then
		return { 'LOOP' }
	end
	if string.find(how, 't') and not made then
		cut_value(ln, 0)
	end
	call('HSET', E .. 'o:' .. sid, handle, ln)
	call('HINCRBY', E .. 'O', ln, 1)
	if string.find(how, 'e') then
		done()
	end
	return { 'OK', ln }
end

function ops.fclose(handle)
	local ln = opened(handle)
	if ln then
		close_file(sid, handle, ln)
	end
	return { 'OK' }
end

