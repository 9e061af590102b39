# Adds 1 to the number in FILE, ROUNDS times, each time under a lock: perl counter.pl flock|fcntl FILE ROUNDS.
use strict;
use warnings;
use Fcntl qw(:flock :seek F_SETLKW F_WRLCK F_UNLCK);
use IO::Handle;

my ($how, $file, $rounds) = @ARGV;
open(my $fh, '+<', $file) or die "open: $!";

sub lock_it {
    my ($exclusive) = @_;
    if ($how eq 'flock') {
        flock($fh, $exclusive ? LOCK_EX : LOCK_UN) or die "flock: $!";
    } else {
        # struct flock: type, whence, start, length, pid.
        my $range = pack('s s x![q] q q i x![q]', $exclusive ? F_WRLCK : F_UNLCK, SEEK_SET, 0, 0, 0);
        fcntl($fh, F_SETLKW, $range) or die "fcntl: $!";
    }
}

STDOUT->autoflush(1);
print "ready\n";
1 while <STDIN>;
for (1 .. $rounds) {
    lock_it(1);
    seek($fh, 0, SEEK_SET) or die "seek: $!";
    my $number = <$fh>;
    seek($fh, 0, SEEK_SET) or die "seek: $!";
    print $fh $number + 1, "\n" or die "print: $!";
    $fh->flush or die "flush: $!";
    lock_it(0);
}
close($fh) or die "close: $!";
