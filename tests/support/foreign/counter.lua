-- Adds 1 to the number in FILE, ROUNDS times, each time under a lock: lua counter.lua FILE ROUNDS.
local fcntl, unistd = require 'posix.fcntl', require 'posix.unistd'

local fd = assert(fcntl.open(arg[1], fcntl.O_RDWR))

local function lock(kind)
	local range = { l_type = kind, l_whence = unistd.SEEK_SET, l_start = 0, l_len = 0 }
	assert(fcntl.fcntl(fd, fcntl.F_SETLKW, range) == 0)
end

print 'ready'
io.stdout:flush()
io.read 'a'
for _ = 1, tonumber(arg[2]) do
	lock(fcntl.F_WRLCK)
	unistd.lseek(fd, 0, unistd.SEEK_SET)
	local number = tonumber(unistd.read(fd, 20):match '%d+')
	unistd.lseek(fd, 0, unistd.SEEK_SET)
	assert(unistd.write(fd, number + 1 .. '\n'))
	lock(fcntl.F_UNLCK)
end
unistd.close(fd)
