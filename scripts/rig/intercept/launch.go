package intercept

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	socketEnv  = "INTERCEPT_SOCKET"
	programEnv = "INTERCEPT_PROGRAM"
)

// Launch turns this process into the program if it was started for that. Otherwise it does
// nothing.
func Launch() {
	socket, program := os.Getenv(socketEnv), os.Getenv(programEnv)
	if socket == "" {
		return
	}
	runtime.LockOSThread()
	_ = os.Unsetenv(socketEnv)
	_ = os.Unsetenv(programEnv)
	err := handOver(socket)
	if err == nil {
		err = syscall.Exec(program, append([]string{program}, os.Args[1:]...), os.Environ())
	}
	fmt.Fprintln(os.Stderr, "intercept:", err)
	os.Exit(1)
}

// handOver makes the kernel ask about the calls of this thread, and of the program that it
// becomes, and sends the descriptor for that to the socket.
func handOver(socket string) error {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	filter := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}} // the call's number
	for nr := range calls {
		filter = append(filter,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(nr), Jf: 1},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF})
	}
	filter = append(filter, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	const flags = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	// Until the test has the descriptor, nobody answers, so no call on a file must be made here.
	// The kernel does not ask about sendmsg.
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return err
	}
	var sendErr error
	err = raw.Control(func(s uintptr) { sendErr = unix.Sendmsg(int(s), []byte{0}, unix.UnixRights(int(fd)), nil, 0) })
	return errors.Join(err, sendErr, unix.Close(int(fd)))
}

// Program makes a copy of program in dir whose calls, when it is run as "serve", this
// Interceptor decides about, and returns its path. The program's user must have access to dir.
// It may be called once.
func (i *Interceptor) Program(program, dir string) (string, error) {
	self := filepath.Join(dir, "launcher")
	if err := copyFile("/proc/self/exe", self); err != nil {
		return "", err
	}
	socket := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return "", err
	}
	if err := os.Chmod(socket, 0o777); err != nil {
		return "", err
	}
	i.listener = l
	go i.accept(l)
	script := filepath.Join(dir, "program")
	text := fmt.Sprintf("#!/bin/sh\ncase $1 in serve) ;; *) exec %s \"$@\" ;; esac\n%s=%s %s=%s exec %s \"$@\"\n",
		quote(program), socketEnv, quote(socket), programEnv, quote(program), quote(self))
	return script, os.WriteFile(script, []byte(text), 0o755)
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
