// Adds 1 to the number in FILE, ROUNDS times, each time under a lock: counter flock|fcntl FILE ROUNDS.
package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func lock(how string, file *os.File, exclusive bool) error {
	for {
		var err error
		if how == "flock" {
			op := syscall.LOCK_UN
			if exclusive {
				op = syscall.LOCK_EX
			}
			err = syscall.Flock(int(file.Fd()), op)
		} else {
			l := syscall.Flock_t{Type: syscall.F_UNLCK, Whence: io.SeekStart}
			if exclusive {
				l.Type = syscall.F_WRLCK
			}
			err = syscall.FcntlFlock(file.Fd(), syscall.F_SETLKW, &l)
		}
		// The runtime's own signals, as cmd/go has it.
		if err != syscall.EINTR {
			return err
		}
	}
}

func main() {
	rounds, err := strconv.Atoi(os.Args[3])
	check(err)
	file, err := os.OpenFile(os.Args[2], os.O_RDWR, 0)
	check(err)
	fmt.Println("ready")
	io.ReadAll(os.Stdin)
	for i := 0; i < rounds; i++ {
		check(lock(os.Args[1], file, true))
		text := make([]byte, 20)
		n, err := file.ReadAt(text, 0)
		if err != io.EOF {
			check(err)
		}
		number, err := strconv.Atoi(strings.TrimSpace(string(text[:n])))
		check(err)
		_, err = file.WriteAt([]byte(strconv.Itoa(number+1)+"\n"), 0)
		check(err)
		check(lock(os.Args[1], file, false))
	}
}
