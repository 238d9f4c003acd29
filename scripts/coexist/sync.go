package coexist

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"maildird/scripts/rig"
)

// syncLimit is the maximum duration of a run of a synchroniser.
const syncLimit = 5 * time.Minute

// runTool runs a program as the servers' user and returns its output. It uses a terminal,
// because mbsync only prints counts there.
func runTool(home, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), syncLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	rig.Prepare(cmd, home)
	cmd.Dir = home
	out, err := onTerminal(cmd, "")
	if err != nil {
		return out, fmt.Errorf("%s: %w\n%s", program, errors.Join(err, ctx.Err()), tailOf(out, 4000))
	}
	return out, nil
}

// Mbsync is a user of mbsync, which synchronises an IMAP account with a Maildir.
type Mbsync struct{ Home, Config string }

// NewMbsync prepares the synchronisation of an account with home/local.
func NewMbsync(home string) (*Mbsync, error) {
	if err := os.MkdirAll(filepath.Join(home, "local"), 0o755); err != nil {
		return nil, err
	}
	return &Mbsync{Home: home, Config: filepath.Join(home, "mbsyncrc")}, rig.Own(home)
}

const mbsyncAccount = `IMAPAccount account
Host %s
Port %s
User %s
Pass %s
SSLType None
AuthMechs LOGIN

IMAPStore far
Account account

`

const mbsyncChannel = `
Channel all
Far :far:
Near :near:
Patterns *
Create Both
Remove None
Expunge Both
CopyArrivalDate yes
SyncState *
`

func (m *Mbsync) write(s *Server, near string) error {
	host, port, err := net.SplitHostPort(s.IMAP)
	if err != nil {
		return err
	}
	text := fmt.Sprintf(mbsyncAccount, host, port, s.Account.Address, s.Account.Password) + near + mbsyncChannel
	if err := os.WriteFile(m.Config, []byte(text), 0o600); err != nil {
		return err
	}
	return rig.Own(m.Home)
}

// Sync runs mbsync once against a server, with Home/local on the near side.
func (m *Mbsync) Sync(s *Server) (Transfers, error) {
	near := fmt.Sprintf("MaildirStore near\nPath %s/local/\nInbox %s/local/INBOX\nSubFolders Verbatim\n", m.Home, m.Home)
	return m.run(s, near)
}

// SyncMaildir runs mbsync once against a server, with a Maildir++ tree on the near side. With
// altMap (AltMap), mbsync does not rename its files.
func (m *Mbsync) SyncMaildir(s *Server, root string, altMap bool) (Transfers, error) {
	near := fmt.Sprintf("MaildirStore near\nInbox %s\nSubFolders Maildir++\n", root)
	if altMap {
		near += "AltMap yes\n"
	}
	return m.run(s, near)
}

func (m *Mbsync) run(s *Server, near string) (Transfers, error) {
	if err := m.write(s, near); err != nil {
		return Transfers{}, err
	}
	out, err := runTool(m.Home, "mbsync", "-c", m.Config, "-a")
	if err != nil {
		return Transfers{}, err
	}
	return parseTransfers(out)
}

// Transfers counts what a run of mbsync did on either side: messages that it stored, whose
// flags it changed, and that it removed.
type Transfers struct {
	Boxes     int
	Far, Near [3]int
}

// None reports whether there was nothing to do.
func (t Transfers) None() bool { return t.Far == [3]int{} && t.Near == [3]int{} }

var transfers = regexp.MustCompile(`B: (\d+)/\d+\s+F: \+(\d+)/\d+ \*(\d+)/\d+ #(\d+)/\d+\s+N: \+(\d+)/\d+ \*(\d+)/\d+ #(\d+)/\d+`)

func parseTransfers(out string) (Transfers, error) {
	var t Transfers
	found := transfers.FindAllStringSubmatch(out, -1)
	if len(found) == 0 {
		return t, fmt.Errorf("mbsync does not say what it did: %q", out)
	}
	for i, to := range []*int{&t.Boxes, &t.Far[0], &t.Far[1], &t.Far[2], &t.Near[0], &t.Near[1], &t.Near[2]} {
		if _, err := fmt.Sscan(found[len(found)-1][i+1], to); err != nil {
			return t, err
		}
	}
	return t, nil
}

// Offlineimap is a user of offlineimap.
type Offlineimap struct{ Home string }

// NewOfflineimap prepares the synchronisation of an account with home/local.
func NewOfflineimap(home string) (*Offlineimap, error) {
	if err := os.MkdirAll(filepath.Join(home, "local"), 0o755); err != nil {
		return nil, err
	}
	return &Offlineimap{Home: home}, rig.Own(home)
}

const offlineimaprc = `[general]
metadata = %[1]s/metadata
accounts = a
[Account a]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = %[1]s/local
utime_from_header = no
[Repository far]
type = IMAP
remotehost = %[2]s
remoteport = %[3]s
ssl = no
starttls = no
remoteuser = %[4]s
remotepass = %[5]s
auth_mechanisms = LOGIN
`

// offlineCopies matches the output of offlineimap for each message that it stores, removes, or
// whose flags it changes.
var offlineCopies = regexp.MustCompile(`(?m)^\s*(Copy message|Adding flags|Deleting flags|Deleting \d+ messages|Creating folder|Deleting messages).*$`)

// Sync runs offlineimap once and returns what it did, one line each.
func (o *Offlineimap) Sync(s *Server) ([]string, error) {
	host, port, err := net.SplitHostPort(s.IMAP)
	if err != nil {
		return nil, err
	}
	config := filepath.Join(o.Home, "offlineimaprc")
	text := fmt.Sprintf(offlineimaprc, o.Home, host, port, s.Account.Address, s.Account.Password)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	if err := rig.Own(o.Home); err != nil {
		return nil, err
	}
	out, err := runTool(o.Home, "offlineimap", "-o", "-c", config, "-u", "basic")
	if err != nil {
		return nil, err
	}
	if strings.Contains(out, "ERROR") {
		return nil, fmt.Errorf("offlineimap: %s", tailOf(out, 4000))
	}
	return offlineCopies.FindAllString(out, -1), nil
}

// mailFiles lists the message files below a directory with their times and sizes: equal lists
// mean that nothing was stored, renamed or touched.
func mailFiles(root string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		switch filepath.Base(filepath.Dir(path)) {
		case "cur", "new":
			st, err := d.Info()
			if err != nil {
				return err
			}
			rel, _ := filepath.Rel(root, path)
			files = append(files, fmt.Sprintf("%s %s %d", rel, st.ModTime().UTC().Format(time.RFC3339), st.Size()))
		}
		return nil
	})
	slices.Sort(files)
	return files, err
}
