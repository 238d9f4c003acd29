package dirfd

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSyncOnShutdown syncs on a file system that shuts itself down meanwhile, which only fstat shows.
func TestSyncOnShutdown(t *testing.T) {
	if os.Getenv("FSTAT_FAILS") == "" {
		cmd := exec.Command("strace", "-f", "-qq", "-o", os.DevNull, "-e", "trace=%fstat", "-e", "inject=%fstat:error=EIO:when=1000+",
			os.Args[0], "-test.run=^TestSyncOnShutdown$")
		cmd.Env = append(os.Environ(), "FSTAT_FAILS=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	d, path := openTemp(t)
	must(t, os.WriteFile(path+"/file", []byte("x"), 0o600))
	f, err := d.OpenAppend("file")
	must(t, err)
	defer f.Close()
	must(t, errors.Join(d.Sync(), d.SyncAll(), f.Sync(), f.DataSync()))
	runtime.LockOSThread() // strace counts the calls of a thread
	defer runtime.UnlockOSThread()
	for n := 0; ; n++ {
		var st unix.Stat_t
		if err := unix.Fstat(0, &st); err != nil {
			break
		}
		if n > 2000 {
			t.Fatal("fstat does not fail")
		}
	}
	for what, sync := range map[string]func() error{"Sync": d.Sync, "SyncAll": d.SyncAll, "File.Sync": f.Sync, "File.DataSync": f.DataSync} {
		if err := sync(); !errors.Is(err, unix.EIO) {
			t.Errorf("%s: %v, want EIO", what, err)
		}
	}
}
