package maildir

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"maildird/maildir/dirfd"
	"maildird/maildir/folder"
	"maildird/maildir/maildirsize"
	"maildird/maildir/quota"
	"maildird/scripts/rig/doveimap"
)

// dovecotSetting is the configuration with which maildird and Dovecot serve the Maildir.
type dovecotSetting struct {
	layout string
	quota  bool // both maintain maildirsize
}

var dovecotSettings = []dovecotSetting{
	{layout: folder.LayoutMaildirPP}, {layout: folder.LayoutFS},
	{layout: folder.LayoutMaildirPP, quota: true}, {layout: folder.LayoutFS, quota: true},
}

func (how dovecotSetting) String() string {
	if how.quota {
		return how.layout + " with a quota"
	}
	return how.layout
}

const quotaBytes = 1 << 20

// configure writes the setting to Dovecot's configuration.
func (w *dovecotWorld) configure() {
	layout := ""
	if w.how.layout == folder.LayoutFS {
		layout = ":LAYOUT=fs"
	}
	settings := "mail_location = maildir:" + w.root + layout + "\n"
	if w.how.quota {
		settings += fmt.Sprintf("mail_plugins = quota\nplugin {\n  quota = maildir:User quota\n  quota_rule = *:storage=%dB\n}\n", quotaBytes)
	}
	doveimap.Configure(w.T, w.root, settings)
}

// account returns the options with which maildird opens the Maildir.
func (w *dovecotWorld) account(hook func(op, path string) error) AccountOptions {
	opt := AccountOptions{Root: w.root, Folder: folder.Options{Layout: w.how.layout, Separator: '/'}, Existing: true, before: hook}
	if w.how.quota {
		opt.Quota = quota.Limit{Bytes: quotaBytes}
	}
	return opt
}

// path returns the directory of a mailbox.
func (w *dovecotWorld) path(name string) string {
	switch {
	case name == "INBOX":
		return w.root
	case w.how.layout == folder.LayoutMaildirPP:
		return w.root + "/." + strings.ReplaceAll(name, "/", ".")
	}
	return w.root + "/" + name
}

// mailboxes returns the names of all mailboxes on the disk.
func (w *dovecotWorld) mailboxes() (names []string) {
	check(filepath.WalkDir(w.root, func(path string, d os.DirEntry, err error) error {
		if d.Name() != "cur" || strings.Contains(path, "/..") {
			return err
		}
		name := strings.Trim(strings.TrimPrefix(filepath.Dir(path), w.root), "/")
		if w.how.layout == folder.LayoutMaildirPP {
			name = strings.TrimPrefix(strings.ReplaceAll(name, ".", "/"), "/")
		}
		if name == "" {
			name = "INBOX"
		}
		names = append(names, name)
		return filepath.SkipDir
	}))
	return names
}

// held counts the bytes and messages in the Maildir.
func (w *dovecotWorld) held() (bytes int64, messages int) {
	for _, name := range w.mailboxes() {
		dir, err := dirfd.Open(w.path(name))
		check(err)
		b, n := maildirsize.Folder(dir)
		check(dir.Close())
		bytes, messages = bytes+b, messages+n
	}
	return bytes, messages
}

// count writes maildirsize, if there is a quota.
func (w *dovecotWorld) count() {
	if w.how.quota {
		bytes, messages := w.held()
		check(os.WriteFile(w.root+"/maildirsize", fmt.Appendf(nil, "%dS\n%d %d\n", quotaBytes, bytes, messages), 0o600))
	}
}

// counted compares maildirsize with the contents of the Maildir, unless a mailbox was deleted:
// what arrived in it or left it at the last moment may be counted or not.
func (w *dovecotWorld) counted() {
	if !w.how.quota || len(w.ended) > 0 {
		return
	}
	root, err := dirfd.Open(w.root)
	check(err)
	defer root.Close()
	sum, err := maildirsize.Read(root)
	if err != nil {
		w.fault("maildirsize: %v", err)
		return
	}
	if bytes, messages := w.held(); sum.Bytes != bytes || sum.Messages != int64(messages) {
		text, _ := os.ReadFile(w.root + "/maildirsize")
		w.fault("the Maildir holds %d bytes in %d messages, and maildirsize says\n%s", bytes, messages, text)
	}
}
