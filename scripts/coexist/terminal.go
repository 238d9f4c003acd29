package coexist

import (
	"fmt"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
)

// patience is the time after which a program on a terminal is told to exit.
const patience = 20 * time.Second

// onTerminal runs a program, prepared by rig.Prepare, on a terminal and returns its output.
// Some programs do not start without a terminal, or report only there. If the program takes
// long, leave is typed, unless it is empty: mutt may discard keys that it has not read yet when
// it shows a message, and would then wait for more.
func onTerminal(cmd *exec.Cmd, leave string) (string, error) {
	terminal, screen, err := openTerminal()
	if err != nil {
		return "", err
	}
	defer terminal.Close()
	cmd.Env = append(cmd.Env, "TERM=xterm")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = screen, screen, screen
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setpgid, cmd.SysProcAttr.Setctty = true, false, true
	err = cmd.Start()
	screen.Close()
	if err != nil {
		return "", err
	}
	read := make(chan string)
	go func() {
		var painted []byte
		buf := make([]byte, 8192)
		for {
			n, err := terminal.Read(buf)
			painted = append(painted, buf[:n]...)
			if err != nil {
				read <- string(painted)
				return
			}
		}
	}()
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(patience)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				_, _ = terminal.WriteString(leave)
			}
		}
	}()
	err = cmd.Wait()
	close(done)
	return <-read, err
}

// openTerminal opens a pseudo-terminal, without which mutt does not start.
func openTerminal() (terminal, screen *os.File, err error) {
	terminal, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	fd := int(terminal.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80})
	}
	if err == nil {
		screen, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		terminal.Close()
		return nil, nil, err
	}
	return terminal, screen, nil
}

func tailOf(s string, n int) string { return s[max(0, len(s)-n):] }
