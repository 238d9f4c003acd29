package rig

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
	"time"
)

// Account is a user of a server.
type Account struct{ Address, Password string }

// DovecotOptions determine how a Dovecot is set up.
type DovecotOptions struct {
	// Root is the directory that contains mail/%d/%n; by default the server's Dir.
	Root string
	// Location is appended to "maildir:" and the path in Dovecot's mail_location, for example
	// ":LAYOUT=fs". Indexes are where Dovecot puts them by default.
	Location string
	Accounts []Account
	// Extra is appended to the configuration.
	Extra string
}

// Dovecot is a private Dovecot that serves IMAP and LMTP on loopback.
type Dovecot struct {
	*Process
	Dir        string
	IMAP, LMTP string // addresses
	Log        string // path of its log file
	path       string
}

// FindDovecot returns the path of the dovecot program, or an error if it is not installed.
func FindDovecot() (string, error) {
	if p, err := exec.LookPath("dovecot"); err == nil {
		return p, nil
	}
	const sbin = "/usr/sbin/dovecot" // not in the PATH of most users
	if _, err := os.Stat(sbin); err != nil {
		return "", fmt.Errorf("dovecot is not installed: %w", err)
	}
	return sbin, nil
}

// DovecotVersion returns the first word of the output of dovecot --version.
func DovecotVersion() string {
	path, err := FindDovecot()
	if err != nil {
		return ""
	}
	out, _ := exec.Command(path, "--version").Output()
	version, _, _ := strings.Cut(string(out), " ")
	return strings.TrimSpace(version)
}

var dovecotConf = template.Must(template.New("dovecot.conf").Parse(`base_dir = {{.Dir}}/run
state_dir = {{.Dir}}/state
log_path = {{.Dir}}/log
protocols = imap lmtp
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
mail_fsync = always
mail_location = maildir:{{.Root}}/mail/%d/%n{{.Location}}
first_valid_uid = 0
first_valid_gid = 0
default_internal_user = {{.ID.Name}}
default_internal_group = {{.ID.Group}}
default_login_user = {{.ID.Name}}
mail_max_userip_connections = 0
imap_idle_notify_interval = 29 mins
auth_cache_size = 1M
passdb {
  driver = passwd-file
  args = {{.Dir}}/users
}
userdb {
  driver = static
  args = uid={{.ID.UID}} gid={{.ID.GID}} home={{.Root}}/mail/%d/%n
}
service anvil {
  chroot =
}
service imap-login {
  chroot =
  inet_listener imap {
    address = 127.0.0.1
    port = {{.IMAP}}
  }
  inet_listener imaps {
    port = 0
  }
}
service imap {
  process_limit = 4096
}
service lmtp {
  process_limit = 64
  inet_listener lmtp {
    address = 127.0.0.1
    port = {{.LMTP}}
  }
}
namespace inbox {
  inbox = yes
  separator = /
{{- range .Folders}}
  mailbox {{.}} {
    auto = subscribe
    special_use = \{{.}}
  }
{{- end}}
}
{{.Extra}}
`))

// StartDovecot starts Dovecot with the same durability as maildird (mail_fsync = always) and
// waits until it accepts connections.
func StartDovecot(ctx context.Context, opt DovecotOptions) (*Dovecot, error) {
	path, err := FindDovecot()
	if err != nil {
		return nil, err
	}
	dir, err := Dir("dovecot")
	if err != nil {
		return nil, err
	}
	if opt.Root == "" {
		opt.Root = dir
	}
	d := &Dovecot{Dir: dir, Log: filepath.Join(dir, "log")}
	imap, err := FreePort()
	if err != nil {
		return nil, err
	}
	lmtp, err := FreePort()
	if err != nil {
		return nil, err
	}
	d.IMAP, d.LMTP = fmt.Sprintf("127.0.0.1:%d", imap), fmt.Sprintf("127.0.0.1:%d", lmtp)
	var conf bytes.Buffer
	err = dovecotConf.Execute(&conf, map[string]any{
		"Dir": dir, "Root": opt.Root, "Location": opt.Location, "ID": Self(), "Extra": opt.Extra,
		"IMAP": imap, "LMTP": lmtp, "Folders": []string{"Drafts", "Sent", "Junk", "Trash", "Archive"},
	})
	if err != nil {
		return nil, err
	}
	var users bytes.Buffer
	for _, a := range opt.Accounts {
		fmt.Fprintf(&users, "%s:{PLAIN}%s::::\n", a.Address, a.Password)
	}
	for name, data := range map[string][]byte{"dovecot.conf": conf.Bytes(), "users": users.Bytes()} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"run", "state"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(filepath.Join(opt.Root, "mail"), 0o700); err != nil {
		return nil, err
	}
	if err := Own(filepath.Join(opt.Root, "mail")); err != nil {
		return nil, err
	}
	if err := Own(dir); err != nil {
		return nil, err
	}
	d.path = path
	return d, d.serve(ctx)
}

// serve starts the program and waits until it accepts connections.
func (d *Dovecot) serve(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, d.path, "-F", "-c", filepath.Join(d.Dir, "dovecot.conf"))
	cmd.Dir = d.Dir
	Prepare(cmd, d.Dir)
	out, err := os.Create(filepath.Join(d.Dir, "output"))
	if err != nil {
		return err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if d.Process, err = Start(cmd); err != nil {
		return err
	}
	for _, address := range []string{d.IMAP, d.LMTP} {
		if err := d.WaitTCP(address, startLimit); err != nil {
			log, _ := os.ReadFile(d.Log)
			_ = d.Kill()
			return fmt.Errorf("%w\n%s", err, log)
		}
	}
	return nil
}

// Restart stops Dovecot and starts it again on the same ports.
func (d *Dovecot) Restart(ctx context.Context) error {
	_ = d.Stop(5 * time.Second)
	return d.serve(ctx)
}

// Close stops Dovecot and removes its directory.
func (d *Dovecot) Close() error {
	_ = d.Stop(5 * time.Second) // the signal ends Dovecot, so its status has no meaning
	return RemoveAll(d.Dir)
}
