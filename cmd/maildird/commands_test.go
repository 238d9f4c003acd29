package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// run runs a command in this process.
func run(stdin string, args ...string) (stdout, stderr string, err error) {
	cmd := root()
	var out, errOut bytes.Buffer
	cmd.SetArgs(args)
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetOut(&out)
	cmd.SetErr(&errOut)
	err = cmd.Execute()
	return out.String(), errOut.String(), err
}

// good runs a command that must succeed and returns its output.
func good(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	out, errOut, err := run(stdin, args...)
	if err != nil {
		t.Fatalf("maildird %s: %v\n%s%s", strings.Join(args, " "), err, out, errOut)
	}
	return out
}

// bad runs a command that must fail with this message.
func bad(t *testing.T, want, stdin string, args ...string) {
	t.Helper()
	out, _, err := run(stdin, args...)
	if err == nil {
		t.Errorf("maildird %s: no error; it printed %q", strings.Join(args, " "), out)
	} else if !strings.Contains(err.Error(), want) {
		t.Errorf("maildird %s:\n got %v\nwant ...%s", strings.Join(args, " "), err, want)
	}
}

// misused is like bad, for an invalid command line, which has its own exit code.
func misused(t *testing.T, want string, args ...string) {
	t.Helper()
	bad(t, want, "", args...)
	if _, _, err := run("", args...); exitCode(err) != 2 {
		t.Errorf("maildird %s: exit code %d", strings.Join(args, " "), exitCode(err))
	}
}

func newServer(t *testing.T) (dir, config string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "srv")
	good(t, "", "init", dir, "--domain", "example.org", "--hostname", "mx.example.org", "--postmaster", "alice@example.org")
	return dir, filepath.Join(dir, "maildird.toml")
}

func TestInit(t *testing.T) {
	dir, config := newServer(t)
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"\nhostname = \"mx.example.org\"\n", "\ndomains  = [\"example.org\"]\n", "\npostmaster = \"alice@example.org\" ",
		"\nlocation = \"mail/%d/%n\" ", "\nsubmissions = [\"127.0.0.1:2465\"]\n", "\nlmtp        = [\"unix:lmtp.sock\"]\n",
	} {
		if !strings.Contains(string(text), line) {
			t.Errorf("maildird.toml lacks %q", line)
		}
	}
	for name, mode := range map[string]os.FileMode{"users": 0o600, "key.pem": 0o600, "cert.pem": 0o600, "maildird.toml": 0o600} {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode() != mode || (name == "users") != (st.Size() == 0) {
			t.Errorf("%s has mode %v and %d bytes", name, st.Mode(), st.Size())
		}
	}
	bad(t, "maildird.toml already exists and is left unchanged", "", "init", dir, "--domain", "example.net")
	if again, err := os.ReadFile(config); err != nil || !bytes.Equal(again, text) {
		t.Errorf("the second init changed maildird.toml: %v", err)
	}
}

// TestInitOfAnyName: a domain may be given in any script and case.
func TestInitOfAnyName(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "srv")
	good(t, "", "init", dir, "--domain", "bücher.example")
	config := filepath.Join(dir, "maildird.toml")
	text, err := os.ReadFile(config)
	if err != nil || !strings.Contains(string(text), "\nhostname = \"mail.xn--bcher-kva.example\"\ndomains  = [\"bücher.example\"]\n") {
		t.Errorf("maildird.toml: %v\n%s", err, text)
	}
	good(t, "secret", "user", "add", "--config", config, "postmaster@bücher.example")
	good(t, "", "config", "check", "--config", config)
}

// TestInitLeavesNothing: a failed init has written nothing.
func TestInitLeavesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "srv")
	misused(t, `--domain: "foo bar" is not a domain`, "init", dir, "--domain", "foo bar")
	misused(t, `--hostname: "-" is not a host name`, "init", dir, "--domain", "example.org", "--hostname", "-")
	misused(t, `--postmaster: "x@other.org" is not an address in example.org`, "init", dir, "--domain", "example.org", "--postmaster", "x@other.org")
	misused(t, `--postmaster: "x" is not an address in example.org`, "init", dir, "--domain", "example.org", "--postmaster", "x")
	misused(t, "maildird init: --domain is missing; usage: maildird init DIR --domain DOMAIN", "init", dir)
	misused(t, "DIR is missing", "init", "--domain", "example.org")
	misused(t, "DIR is missing", "init", "", "--domain", "example.org") // not the working directory
	if _, err := os.Stat(dir); err == nil {
		t.Error("a directory was made")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "key.pem"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	bad(t, "key.pem already exists and is left unchanged", "", "init", dir, "--domain", "example.org")
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("the directory holds %v, %v", entries, err)
	}
}

func TestUsers(t *testing.T) {
	_, config := newServer(t)
	got := good(t, "secret\n", "user", "add", "--config", config, "Bob@Example.org")
	if !strings.Contains(got, "Added Bob@Example.org.\n") || !strings.Contains(got, "Mail for postmaster goes to alice@example.org, who is not a user") {
		t.Errorf("user add printed %q", got)
	}
	if got := good(t, "secret", "user", "add", "-c", config, "alice"); got != "Added alice.\n" {
		t.Errorf("user add printed %q", got)
	}
	if got := good(t, "", "user", "list", "--config", config); got != "bob@example.org\nalice@example.org\n" {
		t.Errorf("user list printed %q", got)
	}
	if got := good(t, "", "config", "check", "--config", config); got != "The configuration is good.\n" {
		t.Errorf("config check printed %q", got)
	}
	good(t, "other\n", "user", "passwd", "--config", config, "bob@example.org")
	good(t, "", "user", "remove", "--config", config, "bob@example.org")
	bad(t, "bob@example.org: no such user", "", "user", "remove", "--config", config, "bob@example.org")
	// Without a password on standard input: it is not asked for in vain.
	bad(t, "bob@example.org: no such user; \"user list\" lists the users", "", "user", "passwd", "--config", config, "bob@example.org")
	bad(t, "alice@example.org: user already exists; \"user passwd\" changes the password", "", "user", "add", "--config", config, "alice@example.org")
	bad(t, `"#eve@example.org" cannot be a user name`, "", "user", "add", "--config", config, "#eve@example.org")
	misused(t, "ADDRESS is missing; usage: maildird user add --config FILE ADDRESS", "user", "add", "--config", config, "")
	bad(t, "\"eve@other.org\" is not in a domain of this server (example.org)", "x\n", "user", "add", "--config", config, "eve@other.org")
	bad(t, "no password on standard input", "", "user", "add", "--config", config, "eve@example.org")
	bad(t, "the password is empty", "\n", "user", "add", "--config", config, "eve@example.org")
	bad(t, filepath.Dir(config)+" is a directory, not a configuration file such as "+config, "", "config", "check", "--config", filepath.Dir(config))
	misused(t, "ADDRESS is missing; usage: maildird user add --config FILE ADDRESS", "user", "add", "--config", config)
	misused(t, "maildird user list: --config is missing; usage: maildird user list --config FILE", "user", "list")
	misused(t, "maildird user list: --config is missing; usage: maildird user list --config FILE", "user", "list", "--config=")
	misused(t, `maildird user list: unexpected argument "alice"; usage: maildird user list --config FILE`, "user", "list", "--config", config, "alice")
	misused(t, `maildird check: unexpected argument "bob"`, "check", "--config", config, "alice", "bob")
	misused(t, "maildird serve: unknown flag: --confg; usage: maildird serve --config FILE", "serve", "--confg", config)
	misused(t, `unknown command "maildird user fly"`, "user", "fly")
	misused(t, `unknown command "maildird user fly"`, "user", "fly", "--config", config)
	misused(t, `unknown command "maildird fly"`, "fly")

	// Lines that cannot be used, or are in another domain, can be changed and removed, too.
	if err := os.WriteFile(filepath.Join(filepath.Dir(config), "users"), []byte("alice:{PLAIN}a\nbob:x:root\neve@other.org:{PLAIN}e\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := good(t, "other\n", "user", "passwd", "--config", config, "bob"); !strings.Contains(got, "The line of bob in "+filepath.Dir(config)+"/users cannot be used yet: \"config check\" says why.\n") {
		t.Errorf("user passwd printed %q", got)
	}
	good(t, "", "user", "remove", "--config", config, "eve@other.org")
	if got := good(t, "", "user", "remove", "--config", config, "bob"); got != "Removed bob.\n" {
		t.Errorf("user remove printed %q", got)
	}
	if got := good(t, "", "user", "list", "--config", config); got != "alice@example.org\n" {
		t.Errorf("user list printed %q", got)
	}
}

// TestMailOfRemovedUser: who adds or removes a user learns that the mail stays, and whose it will be.
func TestMailOfRemovedUser(t *testing.T) {
	dir, config := newServer(t)
	good(t, "secret", "user", "add", "--config", config, "alice")
	if got, want := good(t, "secret", "user", "add", "--config", config, "Bob"), "Added Bob.\n"; got != want {
		t.Errorf("user add printed %q, want %q", got, want)
	}
	if got, want := good(t, "", "user", "remove", "--config", config, "bob"), "Removed bob.\n"; got != want {
		t.Errorf("without mail, user remove printed %q, want %q", got, want)
	}
	home := t.TempDir()
	settings, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	for root, location := range map[string]string{filepath.Join(dir, "mail/example.org/bob"): "mail/%d/%n", filepath.Join(home, "Maildir"): "%h/Maildir"} {
		if err := os.MkdirAll(filepath.Join(root, "cur"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(config, []byte(strings.Replace(string(settings), "mail/%d/%n", location, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		want := "Added Bob.\nThere is already a Maildir in " + root + ", whose mail this user will see.\n"
		if location == "%h/Maildir" { // where is not known yet
			want = "Added Bob.\n"
		}
		if got := good(t, "secret", "user", "add", "--config", config, "Bob"); got != want {
			t.Errorf("%s: user add printed %q, want %q", location, got, want)
		}
		users, err := os.ReadFile(filepath.Join(dir, "users"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "users"), []byte(strings.ReplaceAll(string(users), "::::::", "::::"+home+"::")), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, want := good(t, "other", "user", "passwd", "--config", config, "bob"), "Changed the password of bob.\n"; got != want {
			t.Errorf("%s: user passwd printed %q, want %q", location, got, want)
		}
		want = "Removed BOB@example.org.\nThe mail stays in " + root + ": whoever gets that directory next will see it.\n"
		if got := good(t, "", "user", "remove", "--config", config, "BOB@example.org"); got != want {
			t.Errorf("%s: user remove printed %q, want %q", location, got, want)
		}
	}
}

func TestConfigCheck(t *testing.T) {
	dir, config := newServer(t)
	good(t, "secret", "user", "add", "--config", config, "alice@example.org")
	path := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(path(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := func(name string) string {
		t.Helper()
		text, err := os.ReadFile(path(name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	users, settings := read("users"), read("maildird.toml")

	// Problems are printed one per line; the error only reports that there are some.
	finds := func(want ...string) {
		t.Helper()
		out, _, err := run("", "config", "check", "--config", config)
		if err == nil || strings.Count(out, "\n") != len(want) {
			t.Errorf("config check: %v, printed %q, want %q", err, out, want)
		}
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("config check printed %q, want ...%s", out, w)
			}
		}
	}
	write("users", users+"no password\neve:{ROT13}x\n")
	finds("users:2: ", "users:3: ")
	write("users", users+"eve@elsewhere.example:{PLAIN}x\n")
	finds("mail of eve@elsewhere.example: elsewhere.example is not one of the domains")
	write("users", users)
	write("maildird.toml", strings.Replace(settings, `# aliases =`, `aliases =`, 1))
	finds("cannot read the aliases file: ")
	bad(t, "cannot read the aliases file: ", "", "serve", "--config", config)
	write("aliases", "info alice,\n bbo\nalice@example.org alice+copy\nteam info, far@elsewhere.example\n")
	finds("aliases:1: bbo is neither an alias", `aliases:4: "far@elsewhere.example" is not in a domain of this server`)
	write("aliases", "info eve, alice\n")
	if got := good(t, "secret", "user", "add", "--config", config, "eve"); got != "Added eve.\n" {
		t.Errorf("user add printed %q", got)
	}
	good(t, "", "config", "check", "--config", config)
	if got := good(t, "", "user", "remove", "--config", config, "eve"); !strings.HasPrefix(got, "Removed eve.\n"+path("aliases")+":1: eve is neither an alias") {
		t.Errorf("user remove printed %q", got)
	}
	write("users", users)
	write("maildird.toml", strings.Replace(settings, `"cache"`, `"users"`, 1))
	finds("cache_dir: " + path("users") + " is not a directory")
	bad(t, "cache_dir: "+path("users")+" is not a directory", "", "serve", "--config", config)
	write("maildird.toml", strings.Replace(settings, `"cache"`, `"users/cache"`, 1))
	finds("cache_dir: stat " + path("users/cache") + ": not a directory")
	write("maildird.toml", settings+"\n[imap]\nsubmit_users = [\"eve\"]\n[auth.oauth]\nissuer = \"i\"\naudience = \"a\"\njwks = \"none.json\"\n")
	finds("imap.submit_users: no such user: eve", "auth.oauth.jwks: open "+path("none.json")+": no such file")
	write("maildird.toml", strings.NewReplacer("mail/%d/%n", "mail/%n", `["example.org"]`, `["example.org", "example.com"]`).Replace(settings))
	write("users", users+"eve@example.org:{PLAIN}x\neve@example.com:{PLAIN}x\n")
	finds("mail of eve@example.com: it is in the same place as that of eve@example.org")
	write("maildird.toml", settings)
	write("users", users)
	certify := func(name string, years int) {
		t.Helper()
		cert, key, err := selfSigned(name, time.Now().AddDate(years, 0, 0))
		if err != nil {
			t.Fatal(err)
		}
		write("cert.pem", string(cert))
		write("key.pem", string(key))
	}
	for years, want := range map[int]string{-2: " expired at ", 2: " is not valid before "} {
		certify("mx.example.org", years)
		finds("the certificate " + path("cert.pem") + want)
	}
	// A certificate for another name may be intentional, and so may be a reload with it: the
	// hostname is what other mail servers are told.
	certify("imap.example.org", 0)
	notFor := "warning: the certificate " + path("cert.pem") + " is for imap.example.org, localhost, 127.0.0.1, ::1, not for the hostname mx.example.org: "
	if got := good(t, "", "config", "check", "--config", config); !strings.HasPrefix(got, notFor) || !strings.HasSuffix(got, "\nThe configuration is good.\n") || strings.Count(got, "\n") != 2 {
		t.Errorf("config check printed %q", got)
	}
	certify("imap.example.org", -2)
	finds(" expired at ", notFor)
	certify("*.example.org", 0)
	// "systemctl reload", which runs a check, must not fail because a relay is down.
	write("maildird.toml", settings+"\n[relay]\nserver = \"smtp://127.0.0.1:1\"\n")
	if got := good(t, "", "config", "check", "--config", config); !strings.HasPrefix(got, "warning: relay 127.0.0.1:1: ") || !strings.HasSuffix(got, "\nThe configuration is good.\n") {
		t.Errorf("config check printed %q", got)
	}
	write("maildird.toml", settings)
	if got := good(t, "", "config", "check", "--config", config); got != "The configuration is good.\n" {
		t.Errorf("config check printed %q", got)
	}
	// So may be a self-signed certificate, which the mail programs of other machines refuse.
	for address, refused := range map[string]bool{"127.0.0.1:2143": false, "[::1]:2143": false, "localhost:2143": false,
		":2143": true, "0.0.0.0:2143": true, "192.0.2.1:2143": true, "mx.example.org:2143": true} {
		write("maildird.toml", strings.NewReplacer("127.0.0.1:2143", address, "127.0.0.1:2525", ":2525").Replace(settings))
		want := "The configuration is good.\n"
		if refused {
			want = "warning: the certificate " + path("cert.pem") + " is self-signed, but " + address + " can be reached from other machines: " +
				"mail programs and phones there will refuse it\n" + want
		}
		if got := good(t, "", "config", "check", "--config", config); got != want {
			t.Errorf("with imap at %s, config check printed %q, want %q", address, got, want)
		}
	}
	write("maildird.toml", settings)
	write("key.pem", "nonsense")
	finds("cannot use the certificate " + path("cert.pem"))
	if err := os.Remove(path("cert.pem")); err != nil {
		t.Fatal(err)
	}
	finds("cert.pem: no such file or directory")
	if err := os.Remove(path("users")); err != nil {
		t.Fatal(err)
	}
	finds("cannot read the users file", "cert.pem: no such file or directory")

	write("maildird.toml", strings.Replace(settings, "[tls]", "[tls]\nciphers = \"all\"", 1))
	before, _, _ := strings.Cut(settings, "[tls]")
	line := strings.Count(before, "\n") + 2 // the line after [tls]
	bad(t, fmt.Sprintf(`maildird.toml:%d: unknown setting "tls.ciphers"`, line), "", "config", "check", "--config", config)
	write("maildird.toml", strings.Replace(settings, "domains  =", "domians  =", 1))
	bad(t, `maildird.toml:5: unknown setting "domians"`, "", "serve", "--config", config)
	bad(t, "cannot read the configuration", "", "serve", "--config", path("none.toml"))
}

func TestMaildirThatIsNone(t *testing.T) {
	dir, config := newServer(t)
	good(t, "secret", "user", "add", "--config", config, "alice@example.org")
	if err := os.MkdirAll(filepath.Join(dir, "mail/example.org"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "mail/example.org/alice"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	out, _, err := run("", "config", "check", "--config", config)
	if err == nil || !strings.Contains(out, "mail of alice@example.org: ") || !strings.Contains(out, "mail/example.org/alice") {
		t.Errorf("config check: %v, printed %q", err, out)
	}
}

// TestGenerated: completion and the manual page are generated from the same tree, and the tools
// that read them accept them.
func TestGenerated(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if got := good(t, "", "completion", shell); !strings.Contains(got, "maildird") {
			t.Errorf("completion %s printed %q", shell, got)
		}
	}
	bad(t, `no completion for "tcsh"`, "", "completion", "tcsh")
	script := exec.Command("bash", "-n")
	script.Stdin = strings.NewReader(good(t, "", "completion", "bash"))
	if out, err := script.CombinedOutput(); err != nil {
		t.Errorf("bash does not take the completion: %v\n%s", err, out)
	}

	_, config := newServer(t)
	good(t, "secret", "user", "add", "--config", config, "alice@example.org")
	if got := good(t, "", "__complete", "user", "passwd", "--config", config, ""); !strings.HasPrefix(got, "alice@example.org\n") {
		t.Errorf("completion of ADDRESS: %q", got)
	}

	page := good(t, "", "man")
	for _, c := range leaves(root()) {
		if !strings.Contains(page, ".SS "+roff(c.UseLine())+"\n") {
			t.Errorf("the manual page lacks %q", c.UseLine())
		}
	}
	for i, line := range strings.Split(page, "\n") {
		if strings.HasPrefix(line, "'") || strings.HasPrefix(line, ".") && !macro(line) {
			t.Errorf("line %d of the manual page is taken for a request: %q", i+1, line)
		}
	}
	if got := good(t, "", "version"); !strings.HasPrefix(got, "maildird ") || !strings.Contains(got, "go1.") {
		t.Errorf("version printed %q", got)
	} else if flag := good(t, "", "--version"); flag != got {
		t.Errorf("version printed %q, --version %q", got, flag)
	}
}

func macro(line string) bool {
	name, _, _ := strings.Cut(line[1:], " ")
	switch name {
	case "TH", "SH", "SS", "TP", "PP", "B", "br", "nf", "fi":
		return true
	}
	return false
}

// TestListIsWhole: a list of the users that could not be written is an error.
func TestListIsWhole(t *testing.T) {
	_, config := newServer(t)
	good(t, "secret\n", "user", "add", "--config", config, "alice@example.org")
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	cmd := root()
	cmd.SetArgs([]string{"user", "list", "--config", config})
	cmd.SetOut(full)
	if err := cmd.Execute(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("error %v, want %v", err, syscall.ENOSPC)
	}
}
