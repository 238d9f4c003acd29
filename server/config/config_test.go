package config

import (
	"fmt"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

func load(t *testing.T, text string) (*Config, error) {
	t.Helper()
	return parse("/etc/m/maildird.toml", []byte(text))
}

func TestTemplate(t *testing.T) {
	cfg, err := load(t, Template("Mail.Example.org", "example.org", "alice@example.org"))
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Hostname != "mail.example.org" || cfg.Auth.Users != "/etc/m/users" || cfg.Auth.Aliases != "" || cfg.CacheDir != "/etc/m/cache" ||
		cfg.TLS.Cert != "/etc/m/cert.pem" || !cfg.Mail.Fsync || !cfg.IMAP.Rev2 || !cfg.IMAP.Unauthenticate || cfg.IMAP.UIDOnly || cfg.Limits.MessageSize != 50<<20 {
		t.Errorf("template gives %+v", cfg)
	}
	if got := cfg.Listen.LMTP; len(got) != 1 || got[0] != (Address{"unix", "/etc/m/lmtp.sock"}) {
		t.Errorf("lmtp listens on %v", got)
	}
	if root, err := cfg.Mail.Location.Expand("alice@example.org", ""); err != nil || root != "/etc/m/mail/example.org/alice" {
		t.Errorf("alice's Maildir is %q, %v", root, err)
	}
	// The settings that are commented out are valid, too.
	full, err := load(t, signedTokens(everySetting()))
	if err != nil {
		t.Fatal(err)
	}
	if full.Limits != cfg.Limits || full.Log != cfg.Log || full.Mail.Reserve != cfg.Mail.Reserve || full.SMTP != cfg.SMTP {
		t.Errorf("the comments show %+v, the defaults are %+v", full.Limits, cfg.Limits)
	}
	if full.Auth.Aliases != "/etc/m/aliases" {
		t.Errorf("aliases %q", full.Auth.Aliases)
	}
	if o := full.Auth.OAuth; o == nil || o.Audience != "mail" || o.UsernameClaim != "email" {
		t.Errorf("OAuth %+v", o)
	}
	if r := full.Relay; r == nil || r.Address != "mail.isp.example:465" || !r.TLS || cfg.Relay != nil {
		t.Errorf("relay %+v", r)
	}
	if full.Mail.Folder.SpecialUse["Gesendet"] != `\Sent` {
		t.Errorf("special use %v", full.Mail.Folder.SpecialUse)
	}
}

// everySetting returns the template with all commented-out settings enabled.
func everySetting() string {
	commented := regexp.MustCompile(`(?m)^# ([A-Za-z0-9_"]+ *=|\[)`)
	return commented.ReplaceAllString(Template("h.example", "example.org", "a@example.org"), "$1")
}

// signedTokens removes the settings that exclude jwks: tokens are checked either by the server
// or by their issuer.
func signedTokens(text string) string {
	return regexp.MustCompile(`(?m)^(introspection|client_).*$`).ReplaceAllString(text, "")
}

// TestTemplateHasEverySetting: the file that "maildird init" writes mentions every setting.
func TestTemplateHasEverySetting(t *testing.T) {
	var shown map[string]any
	if err := toml.Unmarshal([]byte(everySetting()), &shown); err != nil {
		t.Fatal(err)
	}
	var look func(table map[string]any, settings reflect.Type, path string)
	look = func(table map[string]any, settings reflect.Type, path string) {
		for _, f := range reflect.VisibleFields(settings) {
			key := f.Tag.Get("toml")
			value, ok := table[key]
			if !ok {
				t.Errorf("the template does not show %s%s", path, key)
				continue
			}
			of := f.Type
			if of.Kind() == reflect.Pointer {
				of = of.Elem()
			}
			if of.Kind() == reflect.Struct {
				look(value.(map[string]any), of, path+key+".")
			}
		}
	}
	look(shown, reflect.TypeFor[file](), "")
}

func TestErrors(t *testing.T) {
	good := Template("mail.example.org", "example.org", "alice@example.org")
	for _, c := range []struct{ old, new, want string }{
		{"separator", "seperator", `:12: unknown setting "mail.seperator"`},
		{"[tls]", "[ssl]", `unknown setting "ssl`},
		{`# messages_per_hour `, `messages_per_hour `, `:73: unknown setting "listen.messages_per_hour"; messages_per_hour belongs to [limits], whose line must come before it, without a #`},
		{`layout   = "maildir++"`, `cache_dir = "cache"`, `:11: unknown setting "mail.cache_dir"; cache_dir must come before the first line with a [table]`},
		{`"mail.example.org"`, `mail.example.org`, `:4:12: unexpected character U+006D 'm' at start of value; a value is a string in quotes, a number, true or false, or a list`},
		{`["127.0.0.1:2143"]`, `[2143]`, `:47: listen.imap: 2143 is not a string with an address, such as "127.0.0.1:2143"`},
		{`# [debug]`, "[debug]\npprof = \":6060\"", `debug.pprof: ":6060" is not a loopback address`},
		{`"maildir++"`, `"mbox"`, `:11: mail.layout: "mbox" is not one of "maildir++", "fs"`},
		{`"/"  `, `"|"  `, `:12: mail.separator: "|" is neither "/" nor "."`},
		{`# compress = ""`, `compress = "lz4"`, `:15: mail.compress: "lz4" is not "", "gzip" or "zstd"`},
		{`# compress = ""  `, "compress = \"gzip\"\n[limits]\nmessage_size = \"2GiB\" #", `limits.message_size: is more than 1073741824`},
		{`prefix   = ""`, `prefix = "INBOX."`, `mail.prefix: "INBOX." does not end in the separator "/"`},
		{`"mail/%d/%n" `, `"mail/%d" `, `mail.location: "mail/%d" is the same Maildir for all users`},
		{`"mail/%d/%n" `, `"maildir:/var/mail/%n" `, `is not just a directory: omit "maildir:"`},
		{`"mail/%d/%n" `, `"%h/Maildir:LAYOUT=fs" `, `LAYOUT=fs as mail.layout`},
		{`"mail/%d/%n" `, `"mail/%x" `, `not one of %u %n %d %h`},
		{`"alice@example.org"`, `""`, `postmaster: missing`},
		{`"alice@example.org"`, `"alice@other.org"`, `postmaster: "alice@other.org" is not in one of the domains`},
		{`hostname = "mail.example.org"`, `hostname = "-x"`, `hostname: "-x" is not a host name`},
		{`["example.org"]`, `[]`, `domains: missing`},
		{`["example.org"]`, `["example.org", "bücher.example", "xn--bcher-kva.example"]`, `:5: domains: "xn--bcher-kva.example" is listed twice`},
		{`["example.org"]`, `["example.org", "b\u00a0c.example"]`, `is not a domain`},
		{`hostname = "mail.example.org"`, `hostname = "b\u2028c.example"`, `hostname: "b\u2028c.example" is not a host name`},
		{`cert = "cert.pem"`, ``, `:38: tls: cert and key must be set together`},
		{`["127.0.0.1:2143"]`, `["127.0.0.1"]`, `listen.imap: "127.0.0.1" is not an address and a port`},
		{`["127.0.0.1:2143"]`, `["256.0.0.1:2143"]`, `listen.imap: "256.0.0.1:2143" begins with neither an address nor a host name`},
		{`["unix:lmtp.sock"]`, `["/run/lmtp.sock"]`, `"127.0.0.1:2143" or ":143", nor a Unix socket, such as "unix:lmtp.sock"`},
		{`"mail.example.org"`, `"192.0.2.1"`, `hostname: "192.0.2.1" is not a host name`},
		{`"mail/%d/%n" `, `"~/Maildir" `, `mail.location: "~/Maildir" begins with a ~; write %h for the home directory`},
		{`cache_dir = "cache"`, `cache_dir = "mail"`, `:6: cache_dir: "/etc/m/mail" contains the users' mail`},
		{`cache_dir = "cache"`, `cache_dir = "."`, `:6: cache_dir: "/etc/m" contains the users' mail`},
		{`# [log]`, "[log]\nlevel = info", `expected newline but got U+006F 'o'; a value is a string in quotes`},
		{`["127.0.0.1:2143"]`, `["127.0.0.1:99999"]`, `has no port number`},
		{`["127.0.0.1:2143"]`, `["*:2143"]`, `:47: listen.imap: "*:2143" begins with neither an address nor a host name; to listen on all addresses of this machine, write ":2143"`},
		{`["127.0.0.1:2143"]`, `[" 127.0.0.1:2143"]`, `begins with neither an address nor a host name`},
		{`["unix:lmtp.sock"]`, `["unix:"]`, `listen.lmtp: "unix:" does not name a socket`},
		{`["unix:lmtp.sock"]`, `["unix:` + strings.Repeat("x", 101) + `"]`, `is longer than 107 bytes`},
		{`["127.0.0.1:2143"]`, `["unix:x"]`, `only lmtp can listen on a Unix socket`},
		{`["127.0.0.1:2143"]`, `7`, `listen.imap: must be an address or a list`},
		{`"127.0.0.1/32"`, `"everywhere"`, `auth.plaintext_from: "everywhere" is not an address`},
		{`key  = "key.pem"`, ``, `cert and key must be set together`},
		{`users = "users"`, `users = "users`, `: a string in quotes does not end on its line`},
		{`users = "users"`, ``, `auth.users: missing`},
		{`# [auth.oauth]`, "[auth.oauth]\nissuer = \"x\"", `auth.oauth: set either jwks`},
		{`# [auth.oauth]`, "[auth.oauth]\nissuer = \"x\"\njwks = \"k\"\nintrospection = \"i\"", `auth.oauth: set either jwks`},
		{`# [auth.oauth]`, "[auth.oauth]\njwks = \"k\"\naudience = \"mail\"", `auth.oauth.issuer: missing`},
		{`# [auth.oauth]`, "[auth.oauth]\nissuer = \"x\"\njwks = \"k\"", `auth.oauth.audience: missing`},
		{`# [auth.oauth]`, "[auth.oauth]\nissuer = \"x\"\nintrospection = \"k\"", `auth.oauth.client_id: missing`},
		{`# [relay]`, "[relay]", `relay.server: missing: the server that relays mail to other domains, such as "smtps://mail.isp.example:465" or "smtp://127.0.0.1:25"`},
		{`# [relay]`, "[relay]\nserver = \"mail.isp.example:587\"", `:51: relay.server: "mail.isp.example:587" is not the URL of a server`},
		{`# [relay]`, "[relay]\nserver = \"https://mail.isp.example:465\"", `is not the URL of a server`},
		{`# [relay]`, "[relay]\nserver = \"smtp://mail.isp.example:587/x\"", `is not the URL of a server`},
		{`# [relay]`, "[relay]\nserver = \"smtp://mail.isp.example:x\"", `is not the URL of a server`},
		{`# [relay]`, "[relay]\nserver = \"smtp://mail.isp.example\"", `relay.server: "smtp://mail.isp.example" has no port number: usually 465 for smtps, 587 or 25 for smtp`},
		{`# [relay]`, "[relay]\nserver = \"smtp://mail.isp.example:99999\"", `has no port number`},
		{`# [relay]`, "[relay]\nserver = \"smtp://:25\"", `relay.server: "smtp://:25" has no host name or address`},
		{`# [relay]`, "[relay]\nserver = \"smtps://alice:secret@mail.isp.example:465\"", `relay.server: "...@mail.isp.example:465" contains a login: set relay.user and relay.password instead`},
		{`# [relay]`, "[relay]\nserver = \"smtps://h.example:465\"\npassword = \"x\"", `relay.user: missing`},
		{`# [relay]`, "[relay]\nserver = \"smtps://h.example:465\"\nuser = \"x\"", `:50: relay.password: missing`},
		{`# [relay]`, "[relay]\nserver = \"smtps://h.example:465\"\nuser = \"x\"\npassword = \"a\\u0000\"", `:53: relay.password: user or password contains a NUL`},
		{`# [limits]`, "[limits]\nmessage_size = \"1025GiB\"", `limits.message_size: is more than 1TiB`},
		{`# quota = ""  `, "quota = \"100\" #", `mail.quota: "100" is a number of bytes; write "100MiB", or "100B" if that is meant`},
		{`# [limits]`, "[limits]\nmessage_size = \"50 apples\"", `limits.message_size: "50 apples" is not a size`},
		{`# [limits]`, "[limits]\nrecipients = -1", `limits.recipients: -1 is not greater than 0`},
		{`# [limits]`, "[limits]\nrecipients = 0", `limits.recipients: 0 is not greater than 0`},
		{`# [limits]`, "[limits]\n\"recipients\" = 0", `limits.recipients: 0 is not greater than 0`},
		{`# [smtp]`, "[smtp]\ngreet_delay = \"1h\"", `smtp.greet_delay: "1h" is not a time from 0s to 1m0s`},
		{`# [log]`, "[log]\nlevel = \"loud\"", `log.level: "loud" is not one of`},
		{`hostname =`, `hostname ==`, `:4:`},
		{`hostname = "mail.example.org"`, `hostname = 5`, `:4:12: hostname: is not a string in quotes, such as "a"`},
		{`["example.org"]`, `"example.org"`, `:5:12: domains: is not a list of strings, such as ["a", "b"]`},
		{`["example.org"]`, `["example.org", 5]`, `: domains: is not a list of strings`},
		{`hostname = "mail.example.org"`, "[hostname]\na = 1\n", `hostname: is not a string in quotes`},
		{`cache_dir =`, "mail = 7\ncache_dir =", `mail: is not a table, such as [mail]`},
		{`# [limits]`, "[limits]\nmessage_size = 50", `limits.message_size: is not a string in quotes`},
		{`# [limits]`, "[limits]\nrecipients = \"many\"", `limits.recipients: is not a whole number`},
		{`# [limits]`, "[limits]\nrecipients = 1.5", `limits.recipients: is not a whole number`},
		{`# [imap]`, "[imap]\nrev2 = \"no\"", `imap.rev2: is not true or false`},
		{`# [imap]`, "[imap]\nrev2 = True", `unexpected character U+0054 'T' at start of value; a value is a string in quotes, a number, true or false, or a list`},
		{`# [mail.special_use]`, "[mail.special_use]\nA = \"\\Sent\"", `invalid escape character U+0053 'S'; between double quotes, write \\ for a backslash`},
		{`# [mail.special_use]`, "[mail.special_use]\nA = 1", `mail.special_use.A: is not a string in quotes`},
		{`# [auth.oauth]`, "[auth.oauth]\nissuer = 5", `auth.oauth.issuer: is not a string in quotes`},
		{`["127.0.0.1:2587"]`, `["127.0.0.1:2525"]`, `listen.submission: "127.0.0.1:2525" is already an address of listen.smtp`},
		{`["127.0.0.1:2587"]`, `[":2525"]`, `listen.submission: ":2525" has the same port as "127.0.0.1:2525", an address of listen.smtp`},
		{`["127.0.0.1:2587"]`, `["0.0.0.0:2525"]`, `listen.submission: "0.0.0.0:2525" has the same port as "127.0.0.1:2525", an address of listen.smtp`},
		{`# [debug]`, "[debug]\npprof = \"127.0.0.1:2143\"", `debug.pprof: "127.0.0.1:2143" is already an address of listen.imap`},
		{`["127.0.0.1:2587"]`, `["127.0.0.1:2587", "127.0.0.1:2587"]`, `listen.submission: "127.0.0.1:2587" is already an address of listen.submission`},
	} {
		text := strings.Replace(good, c.old, c.new, 1)
		if text == good {
			t.Fatalf("%q is not in the template", c.old)
		}
		_, err := load(t, text)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "/etc/m/maildird.toml") {
			t.Errorf("%s -> %s:\n got %v\nwant ...%s", c.old, c.new, err, c.want)
		}
	}
}

// TestSizes: a large number is one of bytes, a small one needs a unit.
func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{"4194304": 4 << 20, "1048576": 1 << 20, "1048575": 0, "100B": 100, "2 KiB": 2 << 10, "1MiB": 1 << 20, "3GiB": 3 << 30} {
		cfg, err := load(t, strings.Replace(Template("mail.example.org", "example.org", "alice@example.org"), `# quota = ""  `, fmt.Sprintf("quota = %q #", text), 1))
		if want == 0 {
			if err == nil {
				t.Errorf("%s is accepted", text)
			}
			continue
		}
		if err != nil || cfg.Mail.Quota != want {
			t.Errorf("%s: %+v, %v", text, cfg, err)
		}
	}
}

// TestNoFile: a FIFO or a device is not waited for.
func TestNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "maildird.toml")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{path, "/dev/zero"} {
		if _, err := Load(path); err == nil || !strings.HasSuffix(err.Error(), path+": it is not a regular file") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestNoLimit: the reserve and the quota can be turned off, the size of a message cannot.
func TestNoLimit(t *testing.T) {
	template := Template("mail.example.org", "example.org", "alice@example.org")
	for _, none := range []string{"0", "0B", "0 MiB"} {
		text := strings.Replace(template, `# reserve = "64MiB"`, fmt.Sprintf("reserve = %q\nquota = %q #", none, none), 1)
		if cfg, err := load(t, text); err != nil || cfg.Mail.Reserve != 0 || cfg.Mail.Quota != 0 {
			t.Errorf("%s: %+v, %v", none, cfg, err)
		}
		if _, err := load(t, strings.Replace(template, "# [limits]", fmt.Sprintf("[limits]\nmessage_size = %q", none), 1)); err == nil {
			t.Errorf("%s is accepted as the size of a message", none)
		}
	}
}

// TestFamilies: a port can be used in separate listeners for IPv4 and IPv6.
func TestFamilies(t *testing.T) {
	for _, list := range []string{`["0.0.0.0:2525", "[::]:2525"]`, `["0.0.0.0:2525", "[::1]:2525"]`, `["192.0.2.1:2525", "192.0.2.2:2525"]`, `[":0", "127.0.0.1:0"]`} {
		if _, err := load(t, strings.Replace(Template("mail.example.org", "example.org", "alice@example.org"), `["127.0.0.1:2525"]`, list, 1)); err != nil {
			t.Errorf("%s: %v", list, err)
		}
	}
}

// TestNames: names may be written in any script and case, and protocols get A-labels.
func TestNames(t *testing.T) {
	text := "\ufeff" + strings.Replace(Template("Mail.Bücher.example", "example.org", "alice@example.org"), `["example.org"]`, `["example.org", "BÜCHER.example"]`, 1)
	text = strings.Replace(text, `["127.0.0.1:2143"]`, `["localhost:2143", "[::1]:2143", "[fe80::1%eth0]:2143", ":2144"]`, 1)
	text = strings.Replace(text, `"::1/128"`, `"::1/128", "::ffff:192.0.2.0/120", "::ffff:198.51.100.1", "203.0.113.1/24"`, 1)
	text = strings.Replace(text, "# [relay]", "[relay]\nserver = \"smtp://Mail.Bücher.example:587/\" #", 1)
	cfg, err := load(t, text)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Relay.Address != "mail.xn--bcher-kva.example:587" || cfg.Relay.TLS {
		t.Errorf("relay %+v", cfg.Relay)
	}
	if cfg.Hostname != "mail.xn--bcher-kva.example" {
		t.Errorf("hostname %q", cfg.Hostname)
	}
	if got := strings.Join(cfg.Domains, " "); got != "example.org bücher.example" {
		t.Errorf("domains %q: users have them as they are written here", got)
	}
	if got := fmt.Sprint(cfg.Auth.PlaintextFrom); got != "[127.0.0.1/32 ::1/128 192.0.2.0/24 198.51.100.1/32 203.0.113.0/24]" {
		t.Errorf("plaintext_from %s", got)
	}
}

func TestFixedPart(t *testing.T) {
	for pattern, want := range map[string]string{
		"/var/mail/%d/%n": "/var/mail", "/var/mail/%u/Maildir": "/var/mail", "/%u": "/", "/v/m-%u": "/v", "%h/Maildir": "",
	} {
		l, err := parseLocation(pattern, "/etc/m")
		if got := l.Fixed(); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", pattern, got, err, want)
		}
	}
}

// TestAllProblems: a single run reports all problems.
func TestAllProblems(t *testing.T) {
	_, err := load(t, "")
	for _, key := range []string{"hostname", "domains", "postmaster", "mail.location", "auth.users", "listen"} {
		if err == nil || !strings.Contains(err.Error(), ": "+key+": ") {
			t.Errorf("an empty file: %v, want a line on %s", err, key)
		}
	}
}

func TestExpandStaysInside(t *testing.T) {
	l, err := parseLocation("/mail/%d/%n", "/")
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"../x@example.org", "a/b@example.org", "alice@..", "alice", "@example.org", ".@example.org", "a\x00@example.org"} {
		if root, err := l.Expand(bad, ""); err == nil {
			t.Errorf("%q leads to %q", bad, root)
		}
	}
	home, err := parseLocation("%h/Maildir", "/")
	if err != nil {
		t.Fatal(err)
	}
	if root, err := home.Expand("alice@example.org", "/home/alice"); err != nil || root != "/home/alice/Maildir" {
		t.Errorf("home: %q, %v", root, err)
	}
	if root, err := home.Expand("alice@example.org", ""); err == nil {
		t.Errorf("no home: %q", root)
	}
}

func TestLoadMissing(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "none.toml")); err == nil || !strings.Contains(err.Error(), "cannot read the configuration") {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(Template("mail.example.org", "example.org", "alice@example.org")))
	f.Add([]byte(everySetting()))
	f.Add([]byte(signedTokens(everySetting())))
	f.Add([]byte("hostname = 3\n[listen]\nimap = [[1]]\n"))
	f.Add([]byte("// no settings at all\npackage config\n\nvar x = map[string][]int{`a\\`: {1, 2}}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		cfg, err := parse("/x", text)
		if (cfg == nil) == (err == nil) {
			t.Fatal(cfg, err)
		}
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if line == "" || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' }) {
					t.Fatalf("not told by the line: %q", err)
				}
			}
			return
		}
		// A configuration that passed the checks can be used.
		if len(Changes(cfg, cfg)) > 0 || len(cfg.Domains) == 0 || cfg.Limits.MessageSize <= 0 || cfg.Limits.Connections <= 0 || !hostName(cfg.Hostname) {
			t.Fatalf("%+v", cfg)
		}
		if root, err := cfg.Mail.Location.Expand("alice@example.org", "/home/alice"); err != nil || !filepath.IsAbs(root) {
			t.Fatalf("Maildir %q, %v", root, err)
		}
	})
}

// TestRelayPasswordIsNotShown: a password in the URL of the relay never gets into a terminal or
// a log, wherever it is in the URL.
func TestRelayPasswordIsNotShown(t *testing.T) {
	for _, server := range []string{
		"smtp:alice:secret@mail.isp.example:25", "smtp:alice:secret@mail.isp.example", "smtps:/alice:secret@mail.isp.example:465",
		"smtps:///alice:secret@mail.isp.example:465", "smtps//alice:secret@mail.isp.example:465", "//alice:secret@mail.isp.example:465",
		"alice:secret@mail.isp.example:465", "secret@mail.isp.example:465", "smtps://alice:secret@mail.isp.example:465",
		"smtps://alice:sec@ret@mail.isp.example:465", "smtps://alice:secret@@mail.isp.example", "smtps://secret@mail.isp.example:465",
		"smtps://alice:x@secret/y@mail.isp.example:465", "smtps://alice:secret#@mail.isp.example:465", "smtps://alice:%secret@mail.isp.example:465",
		"smtps://mail.isp.example:465?user=alice&password=secret", "smtps://mail.isp.example:465#secret",
		"smtps://alice%40isp.example:secret@mail.isp.example:465",
	} {
		text := strings.Replace(Template("mail.example.org", "example.org", "alice@example.org"), "# [relay]", "[relay]\nserver = "+strconv.Quote(server), 1)
		err := CheckText("maildird.toml", text)
		if err == nil || !strings.Contains(err.Error(), "relay.server: ") || strings.Contains(err.Error(), "sec") {
			t.Errorf("%s: %v", server, err)
		}
	}
}
