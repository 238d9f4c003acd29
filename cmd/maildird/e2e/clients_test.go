package e2e

import (
	"fmt"
	"net"
	"net/smtp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-maildir"

	"maildird/scripts/rig"
)

// TestSwaks: swaks delivers to the MX listener with STARTTLS, submits with
// AUTH on both submission ports, and speaks LMTP on TCP and on the socket.
func TestSwaks(t *testing.T) {
	m := start(t)
	auth := []string{"--auth-user", alice, "--auth-password", password, "--from", alice, "--to", bob}
	outside := []string{"--from", "carol@example.net", "--to", bob}
	for _, c := range []struct {
		name, protocol string
		args           []string
	}{
		{"mx", "ESMTP", append(outside, "--server", m.Address("smtp"))},
		{"mx starttls", "ESMTPS", append(outside, "--server", m.Address("smtp"), "--tls")},
		{"submission starttls plain", "ESMTPSA", append(auth, "--server", m.Address("submission"), "--tls", "--auth", "PLAIN")},
		{"submission starttls login", "ESMTPSA", append(auth, "--server", m.Address("submission"), "--tls", "--auth", "LOGIN")},
		{"submissions", "ESMTPSA", append(auth, "--server", m.Address("submissions"), "--tls-on-connect")},
		{"submission in the clear", "ESMTPA", append(auth, "--server", m.Address("submission"))},
		{"lmtp", "LMTP", append(outside, "--server", m.Address("lmtp"), "--protocol", "LMTP")},
		{"lmtp socket", "LMTP", append(outside, "--socket", filepath.Join(m.Dir, "lmtp.sock"), "--protocol", "LMTP")},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := command(t, m, "", "swaks", append(c.args, "--header", "Subject: "+c.name, "--body", "swaks was here")...)
			if err != nil {
				t.Fatalf("swaks: %v\n%s", err, out)
			}
			_, text := find(t, m, bob, c.name)
			head, body, _ := strings.Cut(string(text), "\n\n")
			if !strings.HasPrefix(head, "Return-Path: <") || !strings.Contains(head, "\nDelivered-To: "+bob+"\n") ||
				!strings.Contains(head, " with "+c.protocol+" ") || strings.TrimSpace(body) != "swaks was here" {
				t.Errorf("delivered:\n%s", text)
			}
			if tls := strings.Contains(head, "TLS1.3") || strings.Contains(head, "TLSv1.3"); tls != strings.Contains(c.protocol, "MTPS") {
				t.Errorf("the Received line tells of TLS: %v\n%s", tls, head)
			}
		})
	}
	for _, c := range []struct {
		name, want string
		args       []string
	}{
		{"relay", "550 5.7.1", []string{"--from", "carol@example.net", "--to", "dave@example.com", "--server", m.Address("smtp")}},
		{"unknown user", "550 5.1.1", []string{"--from", "carol@example.net", "--to", "nobody@example.org", "--server", m.Address("smtp")}},
		{"remote recipient", "550", []string{"--from", alice, "--to", "dave@example.com", "--auth-user", alice,
			"--auth-password", password, "--tls", "--server", m.Address("submission")}},
		{"someone else's name", "553 5.7.1", []string{"--from", bob, "--to", bob, "--auth-user", alice,
			"--auth-password", password, "--tls", "--server", m.Address("submission")}},
		{"wrong password", "535", append(auth[:3:3], "wrong", "--from", alice, "--to", bob, "--tls", "--server", m.Address("submission"))},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := command(t, m, "", "swaks", c.args...)
			if err == nil || !strings.Contains(out, "<** "+c.want) && !strings.Contains(out, "<~* "+c.want) {
				t.Errorf("swaks: %v, want a refusal with %s\n%s", err, c.want, out)
			}
		})
	}
	eventually(t, func() error {
		if !strings.Contains(m.Log(), "login failed") {
			return fmt.Errorf("the log lacks the failed login:\n%s", m.Log())
		}
		return nil
	})
	if strings.Contains(m.Log(), password) {
		t.Errorf("the log holds a password:\n%s", m.Log())
	}
}

// TestNetSMTP: the standard library's client, which verifies certificates itself.
func TestNetSMTP(t *testing.T) {
	m := start(t)
	c, err := smtp.Dial(m.Address("submission"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.StartTLS(trusting(t, m)); err != nil {
		t.Fatal(err)
	}
	if err := c.Auth(smtp.PlainAuth("", alice, password, "127.0.0.1")); err != nil {
		t.Fatal(err)
	}
	message := "From: " + alice + "\r\nTo: " + bob + "\r\nBcc: " + alice + "\r\nSubject: standard library\r\n\r\n.dot\r\n..\r\nend\r\n"
	if err := c.Mail(alice); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{bob, alice} {
		if err := c.Rcpt(to); err != nil {
			t.Fatal(err)
		}
	}
	w, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprint(w, message); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Quit(); err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{alice, bob} {
		_, text := find(t, m, user, "standard library")
		head, body, _ := strings.Cut(string(text), "\n\n")
		if body != ".dot\n..\nend\n" || strings.Contains(head, "Bcc") || !strings.Contains(head, "\nDate: ") || !strings.Contains(head, "\nMessage-ID: ") {
			t.Errorf("%s got:\n%s", user, text)
		}
	}
}

// TestCurl: curl reads the folder list and a message with imap:// and imaps://.
func TestCurl(t *testing.T) {
	m := start(t)
	deliver(t, m, bob, "for curl", "Hello\r\n.dot\r\n")
	cert := filepath.Join(m.Dir, "cert.pem")
	_, imaps, _ := net.SplitHostPort(m.Address("imaps"))
	for _, c := range []struct {
		want string
		args []string
	}{
		{"* LIST (\\HasNoChildren \\Sent) \"/\" \"Sent\"\r\n", []string{"imap://" + m.Address("imap") + "/"}},
		{"\r\n\r\nHello\r\n.dot\r\n", []string{"imap://" + m.Address("imap") + "/INBOX/;MAILINDEX=1"}},
		{"\r\n\r\nHello\r\n.dot\r\n", []string{"--ssl-reqd", "--cacert", cert, "imap://" + m.Address("imap") + "/INBOX/;UID=1"}},
		{"* SEARCH 1\r\n", []string{"--cacert", cert, "imaps://localhost:" + imaps + "/INBOX?SUBJECT%20curl"}},
	} {
		out, err := command(t, m, "", "curl", append([]string{"-sS", "--user", bob + ":" + password}, c.args...)...)
		if err != nil || !strings.Contains(out, c.want) {
			t.Errorf("curl %q: %v\n%s\nwant %q", c.args, err, out, c.want)
		}
	}
	upload := filepath.Join(m.Dir, "upload.eml")
	if err := os.WriteFile(upload, []byte("Subject: by curl\r\n\r\nuploaded\r\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := command(t, m, "", "curl", "-sS", "--user", bob+":"+password, "-T", upload, "imap://"+m.Address("imap")+"/Sent"); err != nil {
		t.Fatalf("curl -T: %v\n%s", err, out)
	}
	files := mailIn(t, m, bob, ".Sent")
	if len(files) != 1 {
		t.Fatalf("Sent holds %v", files)
	}
	for _, text := range files {
		if string(text) != "Subject: by curl\n\nuploaded\n" {
			t.Errorf("appended %q", text)
		}
	}
}

// TestMutt: mutt in batch mode reads, flags and deletes messages in the files, an idle IMAP
// session notices it, and mutt sends through submission.
func TestMutt(t *testing.T) {
	m := start(t)
	for _, subject := range []string{"first", "second", "third"} {
		deliver(t, m, bob, subject, "text\r\n")
	}
	news := make(chan string, 100)
	c := login(t, m, bob, &imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Expunge: func(seq uint32) { news <- fmt.Sprintf("expunge %d", seq) },
		Fetch: func(msg *imapclient.FetchMessageData) {
			if data, err := msg.Collect(); err == nil {
				news <- fmt.Sprintf("flags %d %v", data.SeqNum, data.Flags)
			}
		},
	}})
	if data, err := c.Select("INBOX", nil).Wait(); err != nil || data.NumMessages != 3 {
		t.Fatalf("SELECT: %+v, %v", data, err)
	}
	idle, err := c.Idle()
	if err != nil {
		t.Fatal(err)
	}
	mutt := func(keys string, args ...string) {
		t.Helper()
		args = append([]string{"-n", "-F", "/dev/null", "-e", "set mbox_type=Maildir folder=" + m.Home(bob) +
			" move=no delete=yes confirmappend=no quit=yes sort=subject wait_key=no beep=no", "-e", "push '" + keys + "'"}, args...)
		// mutt needs a terminal, which script provides.
		if out, err := command(t, m, "", "script", "-qec", "TERM=xterm "+quoted(append([]string{tool(t, "mutt")}, args...)), "/dev/null"); err != nil {
			t.Fatalf("mutt: %v\n%s", err, out)
		}
	}
	mutt("<first-entry><flag-message><last-entry><delete-message><quit>", "-f", m.Home(bob))
	// In any order: one scan may have found both.
	missing := []string{`\Flagged`, "expunge 3"}
	for len(missing) > 0 {
		select {
		case got := <-news:
			missing = slices.DeleteFunc(missing, func(want string) bool { return strings.Contains(got, want) })
		case <-time.After(patience):
			t.Fatalf("the idle session did not hear %q\n%s", missing, m.Log())
		}
	}
	if err := idle.Close(); err != nil {
		t.Fatal(err)
	}
	if err := idle.Wait(); err != nil {
		t.Fatal(err)
	}
	found, err := c.Search(&imap.SearchCriteria{Flag: []imap.Flag{imap.FlagFlagged}}, nil).Wait()
	if err != nil || len(found.AllSeqNums()) != 1 {
		t.Errorf("flagged: %v, %v", found, err)
	}

	out, err := command(t, m, "by mutt\n", "mutt", "-n", "-F", "/dev/null",
		"-e", fmt.Sprintf("set from=%s realname=Bob copy=no certificate_file=%s smtp_pass=\"%s\" smtp_url=\"smtp://%s@%s\"",
			bob, filepath.Join(m.Dir, "cert.pem"), password, strings.Replace(bob, "@", "%40", 1), m.Address("submission")), "-s", "from mutt", alice)
	if err != nil {
		t.Fatalf("mutt: %v\n%s", err, out)
	}
	if _, text := find(t, m, alice, "from mutt"); !strings.HasSuffix(string(text), "\n\nby mutt\n") {
		t.Errorf("delivered:\n%s", text)
	}
}

// quoted quotes words for sh.
func quoted(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
	}
	return strings.Join(out, " ")
}

// TestSecondReader: go-maildir reads what was delivered, and the server shows the
// flags that it sets.
func TestSecondReader(t *testing.T) {
	m := start(t)
	deliver(t, m, bob, "for go-maildir", "text\r\n")
	c := login(t, m, bob, nil)
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	dir := maildir.Dir(m.Home(bob))
	if _, err := dir.Unseen(); err != nil { // moves messages from new/ to cur/ if the server left any
		t.Fatal(err)
	}
	messages, err := dir.Messages()
	if err != nil || len(messages) != 1 {
		t.Fatalf("go-maildir sees %d messages, %v", len(messages), err)
	}
	if err := messages[0].SetFlags([]maildir.Flag{maildir.FlagReplied, maildir.FlagSeen}); err != nil {
		t.Fatal(err)
	}
	if err := rig.Own(m.Home(bob)); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		data, err := c.Fetch(imap.SeqSetNum(1), &imap.FetchOptions{Flags: true, UID: true}).Collect()
		if err != nil {
			t.Fatal(err)
		}
		if len(data) == 1 && data[0].UID == 1 && has(data[0].Flags, imap.FlagAnswered) && has(data[0].Flags, imap.FlagSeen) {
			return nil
		}
		return fmt.Errorf("the server shows %+v", data)
	})
}

func has(flags []imap.Flag, flag imap.Flag) bool {
	return slices.Contains(flags, flag)
}

// deliver sends a message from an external sender.
func deliver(t testing.TB, m *rig.Maildird, to, subject, body string) {
	t.Helper()
	c, err := smtp.Dial(m.Address("smtp"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Mail("carol@example.net"); err != nil {
		t.Fatal(err)
	}
	if err := c.Rcpt(to); err != nil {
		t.Fatal(err)
	}
	w, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(w, "From: Carol <carol@example.net>\r\nTo: %s\r\nSubject: %s\r\n\r\n%s", to, subject, body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Quit(); err != nil {
		t.Fatal(err)
	}
}
