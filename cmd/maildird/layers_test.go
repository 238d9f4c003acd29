package main

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os/exec"
	"strings"
	"testing"
)

// mayImport lists for each part of the tree which other packages of this module it may use.
// maildir knows files but no protocol, auth knows passwords but no sockets, server speaks
// protocols but owns no file format, and cmd only connects them.
var mayImport = map[string][]string{
	"maildird/maildir":              {"maildird/maildir"},
	"maildird/auth":                 {},
	"maildird/auth/aliases":         {"maildird/auth"},
	"maildird/server/limit":         {"maildird/auth"},
	"maildird/server/accept":        {},
	"maildird/server/advice":        {"maildird/maildir", "maildird/server/relay"},
	"maildird/server/relay":         {"maildird/server/accept"},
	"maildird/server/smtp":          {"maildird/maildir", "maildird/auth", "maildird/server/login", "maildird/server/relay", "maildird/server/sasl", "maildird/server/limit", "maildird/server/accept"},
	"maildird/server/login":         {"maildird/auth", "maildird/server/sasl"},
	"maildird/server/sasl":          {"maildird/auth"},
	"maildird/server/oauth":         {"maildird/server/sasl"},
	"maildird/server/confine":       {},
	"maildird/server/dialogue":      {},
	"maildird/server/servertest":    {"maildird/auth"},
	"maildird/server/imap":          {"maildird/maildir", "maildird/auth", "maildird/server/login", "maildird/server/sasl", "maildird/server/limit", "maildird/server/accept", "maildird/server/imap"},
	"maildird/server/imap/wire":     {"maildird/server/accept"},
	"maildird/server/imap/deflate":  {},
	"maildird/server/imap/syntax":   {"maildird/maildir/folder", "maildird/maildir/mailbox", "maildird/maildir/message"},
	"maildird/server/imap/casemap":  {},
	"maildird/server/imap/pattern":  {},
	"maildird/server/imap/imapurl":  {"maildird/server/imap/syntax"},
	"maildird/server/imap/search":   {"maildird/maildir/filename", "maildird/maildir/mailbox", "maildird/maildir/message", "maildird/server/imap/casemap", "maildird/server/imap/mailfile", "maildird/server/imap/syntax"},
	"maildird/server/imap/order":    {"maildird/maildir/message", "maildird/server/imap/casemap"},
	"maildird/server/imap/thread":   {"maildird/maildir/mailbox"},
	"maildird/server/imap/render":   {"maildird/maildir/message", "maildird/server/imap/syntax"},
	"maildird/server/imap/mailfile": {"maildird/maildir/cache", "maildird/maildir/mailbox", "maildird/maildir/message", "maildird/server/imap/render", "maildird/server/imap/syntax"},
	"maildird/server/config":        {"maildird/maildir/folder", "maildird/maildir/compress"},
	"maildird/server":               {"maildird/maildir", "maildird/auth", "maildird/server"},
	"maildird/cmd":                  {"maildird"},
	"maildird/scripts":              {"maildird"},
}

// rooms lists the packages of maildir, from the bottom up, with the others of them that each
// may use: a file format knows the file system, a folder knows file formats, and packages for
// whole Maildirs know neither mailboxes nor accounts.
var rooms = map[string][]string{
	"contain":       {},
	"dirfd":         {},
	"filename":      {},
	"message":       {},
	"nameless":      {},
	"octets":        {},
	"accesskey":     {"dirfd"},
	"cache":         {"contain"},
	"compress":      {"nameless"},
	"dotlock":       {"dirfd"},
	"history":       {"dirfd", "filename", "octets"},
	"keywords":      {"dirfd", "filename"},
	"mailbox/table": {"filename", "octets"},
	"maildirsize":   {"dirfd", "filename"},
	"metadata":      {"dirfd"},
	"quarantine":    {"dirfd"},
	"uidlist":       {"contain", "dirfd", "octets"},
	"walk":          {"dirfd"},
	"watch":         {"contain", "dirfd", "nameless"},
	"backup":        {"dirfd", "dotlock", "filename", "uidlist", "walk"},
	"delivery":      {"compress", "contain", "dirfd", "maildirsize"},
	"dupes":         {"compress", "dirfd", "filename", "walk"},
	"folder":        {"dirfd", "quarantine", "uidlist", "walk"},
	"quota":         {"dirfd", "maildirsize", "walk"},
	"check":         {"compress", "delivery", "dirfd", "dotlock", "dupes", "filename", "folder", "keywords", "quarantine", "uidlist", "walk"},
	"mailbox":       {"cache", "compress", "contain", "delivery", "dirfd", "dotlock", "filename", "history", "keywords", "mailbox/table", "maildirsize", "message", "metadata", "octets", "quota", "uidlist", "watch"},
	"restore":       {"backup", "delivery", "dirfd", "dotlock", "dupes", "filename", "quarantine", "uidlist", "walk"},
}

// imports is mayImport with the packages of maildir.
func imports() map[string][]string {
	const within = "maildird/maildir/"
	all := maps.Clone(mayImport)
	for room, below := range rooms {
		all[within+room] = []string{}
		for _, b := range below {
			all[within+room] = append(all[within+room], within+b)
		}
	}
	return all
}

// notFor lists packages of the standard library that a part must not use.
var notFor = map[string][]string{
	"maildird/maildir": {"net", "net/http", "crypto/tls"},
	"maildird/auth":    {"net", "net/http", "crypto/tls"},
}

func under(pkg, part string) bool { return pkg == part || strings.HasPrefix(pkg, part+"/") }

// rule returns the most specific entry of the table that applies to a package.
func rule[T any](table map[string]T, pkg string) (T, bool) {
	best := ""
	for part := range table {
		if under(pkg, part) && len(part) > len(best) {
			best = part
		}
	}
	r, ok := table[best]
	return r, ok
}

func TestImportsPointOneWay(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "maildird/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	table := imports()
	seen := 0
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; seen++ {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		allowed, ok := rule(table, p.ImportPath)
		if !ok {
			t.Errorf("%s belongs to no part of the house: add it to the table", p.ImportPath)
		}
		banned, _ := rule(notFor, p.ImportPath)
		for _, imp := range p.Imports {
			if under(imp, "maildird") && !anyUnder(imp, allowed) {
				t.Errorf("%s imports %s", p.ImportPath, imp)
			}
			for _, b := range banned {
				if imp == b {
					t.Errorf("%s imports %s", p.ImportPath, imp)
				}
			}
		}
	}
	if seen < 10 {
		t.Errorf("go list told of %d packages only", seen)
	}
}

func anyUnder(pkg string, parts []string) bool {
	for _, part := range parts {
		if under(pkg, part) {
			return true
		}
	}
	return false
}
