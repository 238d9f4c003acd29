package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/template"
	"time"
)

// PostfixOptions determine how a Postfix is set up.
type PostfixOptions struct {
	// Mailboxes are the addresses that it accepts mail for.
	Mailboxes []string
	// LMTP is the address of a server that the mail is passed to. If it is empty, Postfix's own
	// virtual(8) writes the mail to mail/%d/%n below Dir.
	LMTP string
	// Main contains lines to add to main.cf.
	Main string
}

// Postfix is a private Postfix that accepts mail by SMTP on loopback.
type Postfix struct {
	*Process
	Dir  string
	SMTP string // address
	Log  string // path of its log file
}

// FindPostfix returns an error if a private Postfix cannot be started. The program must be
// installed, and its master(8) can only run as root.
func FindPostfix() error {
	if _, err := postfixTool("postconf"); err != nil {
		return err
	}
	if os.Getuid() != 0 {
		return errors.New("postfix's master(8) can be started by root only")
	}
	return nil
}

// PostfixVersion returns Postfix's mail_version, or "" if Postfix is not installed.
func PostfixVersion() string {
	version, err := postfixDefault("mail_version")
	if err != nil {
		return ""
	}
	return version
}

// postfixTool finds a program of Postfix, which is not in the PATH of most users.
func postfixTool(name string) (string, error) {
	if p, err := exec.LookPath(name); err == nil {
		return p, nil
	}
	p := filepath.Join("/usr/sbin", name)
	if _, err := os.Stat(p); err != nil {
		return "", fmt.Errorf("postfix is not installed: %w", err)
	}
	return p, nil
}

// postfixDefault returns the default of a parameter, as it was built into Postfix.
func postfixDefault(parameter string) (string, error) {
	tool, err := postfixTool("postconf")
	if err != nil {
		return "", err
	}
	out, err := exec.Command(tool, "-d", "-h", parameter).Output()
	if err != nil {
		return "", fmt.Errorf("postconf -d %s: %w", parameter, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// All parameters that affect speed and durability are those of Debian's package.
var postfixMain = template.Must(template.New("main.cf").Parse(`compatibility_level = 3.6
queue_directory = {{.Dir}}/spool
data_directory = {{.Dir}}/data
maillog_file = {{.Dir}}/log/postfix.log
maillog_file_prefixes = {{.Dir}}
myhostname = mx.example.org
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtpd_peername_lookup = no
smtpd_tls_security_level = none
local_recipient_maps =
alias_maps =
virtual_mailbox_domains = {{range .Domains}}{{.}} {{end}}
virtual_mailbox_base = {{.Dir}}/mail
virtual_mailbox_maps = texthash:{{.Dir}}/etc/mailboxes
virtual_uid_maps = static:{{.ID.UID}}
virtual_gid_maps = static:{{.ID.GID}}
virtual_minimum_uid = {{.MinimumUID}}
{{- if .LMTP}}
virtual_transport = lmtp:inet:{{.LMTP}}
{{- else}}
virtual_transport = virtual
{{- end}}
{{.Main}}
`))

const postfixMaster = `127.0.0.1:%d inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
`

// StartPostfix starts Postfix with its own configuration and queue, and waits until it accepts
// connections. FindPostfix tells whether this is possible.
func StartPostfix(ctx context.Context, opt PostfixOptions) (*Postfix, error) {
	if err := FindPostfix(); err != nil {
		return nil, err
	}
	dir, err := Dir("postfix")
	if err != nil {
		return nil, err
	}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	p := &Postfix{Dir: dir, SMTP: fmt.Sprintf("127.0.0.1:%d", port), Log: filepath.Join(dir, "log", "postfix.log")}
	if err := p.configure(opt, port); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := p.serve(ctx); err != nil {
		log, _ := os.ReadFile(p.Log)
		return nil, errors.Join(fmt.Errorf("%w\n%s", err, log), os.RemoveAll(dir))
	}
	return p, nil
}

func (p *Postfix) configure(opt PostfixOptions, port int) error {
	// Postfix complains about anything but mail that is not owned by root.
	if err := os.Chown(p.Dir, 0, 0); err != nil {
		return err
	}
	for _, name := range []string{"etc", "spool", "data", "log", "mail"} {
		if err := os.Mkdir(filepath.Join(p.Dir, name), 0o755); err != nil {
			return err
		}
	}
	var domains []string
	var mailboxes, conf bytes.Buffer
	for _, address := range opt.Mailboxes {
		local, domain, _ := strings.Cut(address, "@")
		if !slices.Contains(domains, domain) {
			domains = append(domains, domain)
		}
		fmt.Fprintf(&mailboxes, "%s %s/%s/\n", address, domain, local)
		// virtual(8), which runs as the user, creates a Maildir, but cannot create
		// the directory above it.
		if err := os.MkdirAll(filepath.Join(p.Dir, "mail", domain), 0o700); err != nil {
			return err
		}
	}
	id := Self()
	err := postfixMain.Execute(&conf, map[string]any{
		"Dir": p.Dir, "Domains": domains, "ID": id, "MinimumUID": min(id.UID, 100), "LMTP": opt.LMTP, "Main": opt.Main,
	})
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{
		"main.cf": conf.Bytes(), "master.cf": fmt.Appendf(nil, postfixMaster, port), "mailboxes": mailboxes.Bytes(),
	} {
		if err := os.WriteFile(filepath.Join(p.Dir, "etc", name), data, 0o644); err != nil {
			return err
		}
	}
	owner, err := postfixOwner()
	if err != nil {
		return err
	}
	if err := os.Chown(filepath.Join(p.Dir, "data"), owner, -1); err != nil {
		return err
	}
	return Own(filepath.Join(p.Dir, "mail"))
}

// serve creates the directories of the queue, starts master(8) itself, so that it can be
// stopped by its process ID, and waits until it accepts connections.
func (p *Postfix) serve(ctx context.Context) error {
	tool, err := postfixTool("postfix")
	if err != nil {
		return err
	}
	etc := filepath.Join(p.Dir, "etc")
	if out, err := exec.CommandContext(ctx, tool, "-c", etc, "check").CombinedOutput(); err != nil {
		return fmt.Errorf("postfix check: %w\n%s", err, out)
	}
	daemons, err := postfixDefault("daemon_directory")
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(daemons, "master"), "-c", etc, "-s")
	cmd.Dir = p.Dir
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "MAIL_CONFIG="+etc)
	// master(8) exits at once if it leads a process group but not a session.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 5 * time.Second
	out, err := os.Create(filepath.Join(p.Dir, "output"))
	if err != nil {
		return err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if p.Process, err = Start(cmd); err != nil {
		return err
	}
	if err := p.WaitTCP(p.SMTP, startLimit); err != nil {
		_ = p.Kill()
		said, _ := os.ReadFile(out.Name())
		return fmt.Errorf("%w\n%s", err, said)
	}
	return nil
}

// Restart stops Postfix and starts it again on the same port and queue.
func (p *Postfix) Restart(ctx context.Context) error {
	_ = p.Stop(5 * time.Second)
	return p.serve(ctx)
}

// Close stops Postfix and removes its directory.
func (p *Postfix) Close() error {
	_ = p.Stop(5 * time.Second) // the signal ends master(8), so its status has no meaning
	return RemoveAll(p.Dir)
}

// postfixOwner returns the ID of the user that Postfix's daemons run as.
func postfixOwner() (int, error) {
	name, err := postfixDefault("mail_owner")
	if err != nil {
		return 0, err
	}
	u, err := user.Lookup(name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(u.Uid)
}
