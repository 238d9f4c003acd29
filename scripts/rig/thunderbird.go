package rig

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"maildird/scripts/rig/marionette"
)

// Security is how Thunderbird protects a connection. The values are those of its
// preferences socketType and try_ssl.
type Security int

// The values of Security.
const (
	Plain    Security = 0
	StartTLS Security = 2
	TLS      Security = 3
)

// Mailbox is an account as a person would enter it in Thunderbird.
type Mailbox struct {
	Account
	Name       string // full name
	IMAP       string // host:port
	Security   Security
	SMTP       string // host:port of the submission service
	SMTPSecure Security
}

//go:embed thunderbird.js
var steps string

// Thunderbird is a running Thunderbird with a fresh profile on its own display.
type Thunderbird struct {
	*marionette.Client
	Dir     string // home directory; the profile is below it
	screen  string // name of the display
	display *Process
	process *Process
}

// patience is how long Thunderbird may take to start: usually some seconds, but much longer
// on a busy machine.
const patience = 5 * time.Minute

// StartThunderbird starts Thunderbird with the given accounts. It stores their passwords
// as if a person had saved them. Thunderbird does not connect until the step "connect".
// prefs are additional preferences.
func StartThunderbird(ctx context.Context, boxes []Mailbox, prefs map[string]any) (_ *Thunderbird, err error) {
	path, err := exec.LookPath("thunderbird")
	if err != nil {
		return nil, err
	}
	t := new(Thunderbird)
	if t.Dir, err = Dir("thunderbird"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			t.Close()
		}
	}()
	if err := os.Mkdir(t.profile(), 0o700); err != nil {
		return nil, err
	}
	data, err := preferences(boxes, prefs)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(t.profile(), "user.js"), data, 0o600); err != nil {
		return nil, err
	}
	if err := Own(t.Dir); err != nil {
		return nil, err
	}
	if t.screen, err = t.startDisplay(ctx); err != nil {
		return nil, err
	}
	if err := t.launch(ctx, path); err != nil {
		return nil, err
	}
	for _, b := range boxes {
		for origin, address := range map[string]string{"imap://": b.IMAP, "smtp://": b.SMTP} {
			host, _, _ := net.SplitHostPort(address)
			if err := t.Do("savePassword", nil, patience, origin+host, b.Address, b.Password); err != nil {
				return nil, err
			}
		}
	}
	return t, nil
}

func (t *Thunderbird) profile() string { return filepath.Join(t.Dir, "profile") }

// launch starts the program with the existing profile.
func (t *Thunderbird) launch(ctx context.Context, path string) error {
	port := filepath.Join(t.profile(), "MarionetteActivePort")
	if err := os.Remove(port); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	out, err := os.Create(filepath.Join(t.Dir, "output"))
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.CommandContext(ctx, path, "--no-remote", "--profile", t.profile(), "--marionette", "--remote-allow-system-access")
	Prepare(cmd, t.Dir)
	cmd.Dir = t.Dir
	cmd.Env = append(cmd.Env, "DISPLAY="+t.screen, "GDK_BACKEND=x11", "MOZ_CRASHREPORTER_DISABLE=1",
		"NO_AT_BRIDGE=1", "XDG_RUNTIME_DIR="+t.Dir, "DBUS_SESSION_BUS_ADDRESS=disabled:", "MOZ_DISABLE_CONTENT_SANDBOX=1")
	cmd.Stdout, cmd.Stderr = out, out
	if t.process, err = Start(cmd); err != nil {
		return err
	}
	address, err := t.await(ctx, port)
	if err != nil {
		return err
	}
	t.Client, err = marionette.Dial(address, patience) // it answers as soon as its window exists
	return err
}

// Quit quits Thunderbird as a person does, and keeps its profile for Again.
func (t *Thunderbird) Quit(limit time.Duration) error {
	err := t.Client.Quit()
	t.Client.Close()
	t.Client = nil
	select {
	case <-t.process.Done():
	case <-time.After(limit):
		return errors.Join(err, fmt.Errorf("thunderbird has not ended in %v", limit))
	}
	return nil
}

// Again restarts Thunderbird with the profile that it had at Quit.
func (t *Thunderbird) Again(ctx context.Context) error {
	path, err := exec.LookPath("thunderbird")
	if err != nil {
		return err
	}
	return t.launch(ctx, path)
}

// Do runs one of the steps in thunderbird.js and stores its result in result,
// unless that is nil.
func (t *Thunderbird) Do(step string, result any, limit time.Duration, args ...any) error {
	if err := t.Run(steps+"\nreturn "+step+"(...args);", args, result, limit); err != nil {
		return fmt.Errorf("%s%v: %w", step, args, err)
	}
	return nil
}

// startDisplay starts Xvfb on a free display and returns its name.
func (t *Thunderbird) startDisplay(ctx context.Context) (string, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer r.Close()
	cmd := exec.CommandContext(ctx, "Xvfb", "-displayfd", "3", "-screen", "0", "1280x1024x24", "-nolisten", "tcp")
	Prepare(cmd, t.Dir)
	cmd.ExtraFiles = []*os.File{w}
	t.display, err = Start(cmd)
	w.Close()
	if err != nil {
		return "", err
	}
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("virtual display: %w", err)
	}
	return ":" + strings.TrimSpace(line), nil
}

// await waits for the file to which Thunderbird writes its Marionette port, and
// returns the address.
func (t *Thunderbird) await(ctx context.Context, file string) (string, error) {
	for {
		if data, err := os.ReadFile(file); err == nil && len(data) > 0 {
			if _, err := strconv.Atoi(strings.TrimSpace(string(data))); err == nil {
				return net.JoinHostPort("127.0.0.1", strings.TrimSpace(string(data))), nil
			}
		}
		select {
		case <-t.process.Done():
			out, _ := os.ReadFile(filepath.Join(t.Dir, "output"))
			return "", fmt.Errorf("thunderbird ended at once: %s", bytes.TrimSpace(out))
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Close quits Thunderbird, stops its display, and removes the profile.
func (t *Thunderbird) Close() error {
	if t.Client != nil {
		_ = t.Client.Quit()
		t.Client.Close()
	}
	for _, p := range []*Process{t.process, t.display} {
		if p != nil {
			_ = p.Stop(5 * time.Second)
		}
	}
	return RemoveAll(t.Dir)
}

// quiet are the preferences that keep Thunderbird from showing first-run pages, from asking
// anything, and from talking to any server but those of the accounts.
var quiet = map[string]any{
	"marionette.port":                                0,
	"app.update.auto":                                false,
	"app.update.enabled":                             false,
	"app.update.disabledForTesting":                  true,
	"app.donation.eoy.version.viewed":                9999,
	"app.normandy.enabled":                           false,
	"browser.region.network.url":                     "",
	"browser.safebrowsing.downloads.enabled":         false,
	"browser.safebrowsing.malware.enabled":           false,
	"browser.safebrowsing.phishing.enabled":          false,
	"calendar.timezone.useSystemTimezone":            true,
	"datareporting.healthreport.uploadEnabled":       false,
	"datareporting.policy.dataSubmissionEnabled":     false,
	"extensions.getAddons.cache.enabled":             false,
	"extensions.systemAddon.update.enabled":          false,
	"extensions.update.enabled":                      false,
	"intl.accept_languages":                          "en",
	"mail.inappnotifications.enabled":                false,
	"mail.instrumentation.askUser":                   false,
	"mail.provider.suppress_dialog_on_startup":       true,
	"mail.rights.version":                            1,
	"mail.shell.checkDefaultClient":                  false,
	"mail.spotlight.firstRunDone":                    true,
	"mail.winsearch.firstRunDone":                    true,
	"mail.biff.show_alert":                           false,
	"mail.biff.play_sound":                           false,
	"mailnews.start_page.enabled":                    false,
	"mailnews.start_page_override.mstone":            "ignore",
	"mail.compose.autosave":                          false,
	"mail.warn_on_send_accel_key":                    false,
	"mailnews.mark_message_read.auto":                true,
	"mailnews.mark_message_read.delay":               false,
	"messenger.options.messagesStyle.theme":          "mail",
	"network.captive-portal-service.enabled":         false,
	"network.connectivity-service.enabled":           false,
	"network.dns.disableIPv6":                        true,
	"network.proxy.type":                             1, // all other traffic goes to a proxy that refuses connections
	"network.proxy.http":                             "127.0.0.1",
	"network.proxy.http_port":                        9,
	"network.proxy.ssl":                              "127.0.0.1",
	"network.proxy.ssl_port":                         9,
	"network.trr.mode":                               5,
	"services.settings.server":                       "http://127.0.0.1:9/",
	"signon.rememberSignons":                         true,
	"toolkit.telemetry.enabled":                      false,
	"toolkit.telemetry.server":                       "http://127.0.0.1:9/",
	"toolkit.telemetry.unified":                      false,
	"offline.startup_state":                          2,
	"offline.autoDetect":                             false,
	"mail.accounthub.enabled":                        false,
	"mail.openMessageBehavior.version":               1,
	"mailnews.auto_config.fetchFromISP.enabled":      false,
	"mailnews.auto_config.fetchFromExchange.enabled": false,
	"mailnews.auto_config.guess.enabled":             false,
}

// preferences returns the contents of user.js.
func preferences(boxes []Mailbox, extra map[string]any) ([]byte, error) {
	all := map[string]any{}
	maps.Copy(all, quiet)
	var accounts, smtps []string
	for i, b := range boxes {
		n := strconv.Itoa(i + 1)
		accounts, smtps = append(accounts, "account"+n), append(smtps, "smtp"+n)
		if err := account(all, n, b); err != nil {
			return nil, err
		}
	}
	local := strconv.Itoa(len(boxes) + 1)
	all["mail.account.account"+local+".server"] = "server" + local
	for k, v := range map[string]any{"type": "none", "hostname": "Local Folders", "userName": "nobody", "name": "Local Folders"} {
		all["mail.server.server"+local+"."+k] = v
	}
	accounts = append(accounts, "account"+local)
	all["mail.accountmanager.localfoldersserver"] = "server" + local
	all["mail.accountmanager.defaultaccount"] = "account1"
	all["mail.accountmanager.accounts"] = strings.Join(accounts, ",")
	all["mail.account.lastKey"] = len(accounts)
	all["mail.smtpservers"] = strings.Join(smtps, ",")
	all["mail.smtp.defaultserver"] = "smtp1"
	maps.Copy(all, extra)
	var out bytes.Buffer
	for k, v := range all {
		value, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&out, "user_pref(%q, %s);\n", k, value)
	}
	return out.Bytes(), nil
}

// account adds the preferences of an account.
func account(all map[string]any, n string, b Mailbox) error {
	host, port, err := splitHostPort(b.IMAP)
	if err != nil {
		return err
	}
	smtpHost, smtpPort, err := splitHostPort(b.SMTP)
	if err != nil {
		return err
	}
	uri := "imap://" + strings.ReplaceAll(b.Address, "@", "%40") + "@" + host + "/"
	all["mail.account.account"+n+".identities"] = "id" + n
	all["mail.account.account"+n+".server"] = "server" + n
	const password = 3 // nsMsgAuthMethod.passwordCleartext
	for k, v := range map[string]any{
		"type": "imap", "hostname": host, "port": port, "userName": b.Address, "name": b.Address,
		"socketType": int(b.Security), "authMethod": password, "login_at_startup": false,
		"check_new_mail": false, "check_time": 60, "use_idle": true, "autosync_offline_stores": false,
		"offline_download": false, "storeContractID": "@mozilla.org/msgstore/berkeleystore;1",
	} {
		all["mail.server.server"+n+"."+k] = v
	}
	for k, v := range map[string]any{
		"fullName": b.Name, "useremail": b.Address, "smtpServer": "smtp" + n, "valid": true,
		"compose_html": false, "fcc": true, "fcc_folder": uri + "Sent", "draft_folder": uri + "Drafts",
		"fcc_folder_picker_mode": "1", "drafts_folder_picker_mode": "1",
	} {
		all["mail.identity.id"+n+"."+k] = v
	}
	for k, v := range map[string]any{
		"hostname": smtpHost, "port": smtpPort, "username": b.Address, "authMethod": password,
		"try_ssl": int(b.SMTPSecure), "type": "smtp",
	} {
		all["mail.smtpserver.smtp"+n+"."+k] = v
	}
	return nil
}

func splitHostPort(address string) (string, int, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.Atoi(port)
	return host, n, err
}
