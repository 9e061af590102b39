# Adds 1 to the number in FILE, ROUNDS times, each time under a lock: ruby counter.rb FILE ROUNDS.
file, rounds = ARGV
$stdout.sync = true
puts 'ready'
$stdin.read
rounds.to_i.times do
  File.open(file, File::RDWR | File::CREAT, 0o644) do |f|
    f.flock(File::LOCK_EX)
    number = f.read.to_i
    f.rewind
    f.write("#{number + 1}\n")
    f.flush
    f.truncate(f.pos)
  end
end
