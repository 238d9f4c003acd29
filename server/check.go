package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"maildird/auth"
	"maildird/auth/aliases"
	"maildird/maildir"
	"maildird/server/advice"
	"maildird/server/config"
	"maildird/server/oauth"
	"maildird/server/relay"
)

// Check returns what keeps a configuration that Load has accepted from working. doubts are
// problems that may be intended or temporary. Each item is a sentence.
func Check(cfg *config.Config, log *slog.Logger) (wrong, doubts []string) {
	users, err := auth.OpenUsers(cfg.Auth.Users, cfg.Domains, log)
	if err != nil {
		wrong = append(wrong, err.Error())
	} else {
		unusable, noLogin, err := users.Problems()
		if err != nil {
			wrong = append(wrong, err.Error())
		}
		wrong, doubts = append(wrong, unusable...), append(doubts, noLogin...)
		if _, ok := users.Lookup(cfg.Postmaster); !ok {
			wrong = append(wrong, fmt.Sprintf("postmaster: no such user: %s; add it with \"maildird user add\"", cfg.Postmaster))
		}
		wrong = append(wrong, checkAliases(cfg, users, log)...)
		bad, copied := checkMail(cfg, users.All())
		wrong, doubts = append(wrong, bad...), append(doubts, copied...)
		for _, name := range cfg.IMAP.SubmitUsers {
			if _, ok := users.Lookup(name); !ok {
				wrong = append(wrong, fmt.Sprintf("imap.submit_users: no such user: %s", name))
			}
		}
	}
	if err := checkCache(cfg.CacheDir); err != nil {
		wrong = append(wrong, err.Error())
	} else if err := mayUseCache(cfg.CacheDir); err != nil {
		wrong = append(wrong, err.Error())
	}
	if err := checkRoom(cfg); err != nil {
		wrong = append(wrong, err.Error())
	}
	doubts = append(doubts, checkModes(cfg)...)
	none, unsure := checkSockets(cfg)
	wrong, doubts = append(wrong, none...), append(doubts, unsure...)
	if cert, err := loadCertificate(cfg.TLS); err != nil {
		wrong = append(wrong, err.Error())
	} else {
		if err := cert.valid(time.Now()); err != nil {
			wrong = append(wrong, err.Error())
		}
		doubts = append(doubts, cert.doubts(cfg.Hostname, time.Now())...)
		if doubt := cert.distrusted(cfg.Listen); doubt != "" {
			doubts = append(doubts, doubt)
		}
	}
	for _, err := range []error{checkTokens(cfg.Auth.OAuth, log), checkRelay(cfg)} {
		switch {
		case err == nil:
		case mayPass(err):
			doubts = append(doubts, err.Error())
		default:
			wrong = append(wrong, err.Error())
		}
	}
	for _, list := range [][]string{wrong, doubts} {
		for i := range list {
			list[i] = strings.ReplaceAll(list[i], "\n", "; ")
		}
	}
	return wrong, doubts
}

// checkAliases returns what is wrong with lines of the aliases file.
func checkAliases(cfg *config.Config, users *auth.Users, log *slog.Logger) []string {
	a, err := aliases.Open(cfg.Auth.Aliases, cfg.Domains, users, cfg.Postmaster, log)
	if err != nil {
		return []string{err.Error()}
	}
	return a.Problems()
}

// checkRelay connects and logs in to the relay.
func checkRelay(cfg *config.Config) error {
	client, err := newRelay(cfg)
	if err != nil || client == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := client.Check(ctx); err != nil {
		return advice.Error(err)
	}
	return nil
}

// mayPass reports whether an error about another server may go away by itself, because the
// server or the network is down. An unknown host name, an untrusted certificate and an alert
// of TLS do not.
func mayPass(err error) bool {
	var certificate *tls.CertificateVerificationError
	var header tls.RecordHeaderError
	var name *net.DNSError
	var network *net.OpError
	switch {
	case errors.As(err, &certificate), errors.As(err, &header):
		return false
	case errors.As(err, &name):
		return !name.IsNotFound
	case errors.As(err, &network):
		return network.Op != "remote error" && network.Op != "local error" // as crypto/tls calls its alerts
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, relay.ErrForNow) || errors.Is(err, oauth.ErrForNow)
}

// checkModes returns which files all users of the machine can read or change although they must not.
func checkModes(cfg *config.Config) (doubts []string) {
	secrets := cfg.Relay != nil && cfg.Relay.Password != "" || cfg.Auth.OAuth != nil && cfg.Auth.OAuth.ClientSecret != ""
	for _, f := range []struct {
		key, path string
		secret    bool
	}{{"", cfg.Path, secrets}, {"tls.key: ", cfg.TLS.Key, true}, {"auth.users: ", cfg.Auth.Users, true}, {"auth.aliases: ", cfg.Auth.Aliases, false}} {
		path, err := filepath.EvalSymlinks(f.path)
		if err != nil {
			continue // the missing is somebody else's concern
		}
		switch mode := modeForAll(path); {
		case mode&0o2 != 0:
			doubts = append(doubts, fmt.Sprintf("%s%s can be changed by every user of this machine (chmod o-rw)", f.key, f.path))
		case mode&0o4 != 0 && f.secret:
			doubts = append(doubts, fmt.Sprintf("%s%s contains secrets and can be read by every user of this machine (chmod o-r)", f.key, f.path))
		}
	}
	return doubts
}

// modeForAll returns what every user of the machine may do with a file: nothing if a directory
// above it is closed to others.
func modeForAll(path string) fs.FileMode {
	var mode fs.FileMode
	if st, err := os.Stat(path); err == nil {
		mode = st.Mode() & 0o7
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if st, err := os.Stat(dir); err != nil || st.Mode()&0o1 == 0 {
			return 0
		}
		if dir == filepath.Dir(dir) {
			return mode
		}
	}
}

// checkMail returns what is wrong with the Maildirs of the users.
func checkMail(cfg *config.Config, users []auth.User) (wrongs, doubts []string) {
	whose := map[string]string{} // user by Maildir
	for _, u := range users {
		wrong := func(format string, args ...any) {
			wrongs = append(wrongs, "mail of "+u.Name+": "+fmt.Sprintf(format, args...))
		}
		root, err := cfg.Mail.Location.Expand(u.Name, u.Home)
		if err == nil {
			err = maildir.CheckRoot(root, owner(u))
		}
		if err != nil {
			wrong("%v", err)
		} else if other, ok := whose[root]; ok && cfg.Mail.Location.Fixed() != "" {
			// Two users may have the same home directory on purpose.
			wrong("it is in the same place as that of %s, so each can read the other's; use %%d or %%u in mail.location to separate them", other)
		} else {
			whose[root] = u.Name
			if maildir.WithoutUIDs(root) {
				doubts = append(doubts, fmt.Sprintf("mail of %s: %s was used by Dovecot but has no dovecot-uidlist: if Dovecot keeps it elsewhere (CONTROL=), copy it "+
					"before the first start, or clients download all mail again; see README", u.Name, root))
			}
		}
		if _, domain, _ := strings.Cut(u.Name, "@"); !slices.Contains(cfg.Domains, domain) {
			wrong("%s is not one of the domains, so mail for it is refused", domain)
		}
	}
	return wrongs, doubts
}

// checkCache returns an error if the cache directory, or a parent of it, exists but
// is not a directory.
func checkCache(dir string) error {
	switch st, err := os.Stat(dir); {
	case err == nil && !st.IsDir():
		return fmt.Errorf("cache_dir: %s is not a directory", dir)
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("cache_dir: %w", err)
	}
	return nil
}

// mayUseCache returns an error if this process can neither write to nor create the cache
// directory. The server would then run without a cache.
func mayUseCache(dir string) error {
	if dir == "" {
		return nil
	}
	err := maildir.MayWrite(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = maildir.MayMakeDirs(dir)
	}
	if err != nil {
		return fmt.Errorf("cache_dir: %w", err)
	}
	return nil
}

// checkSockets checks the directories of Unix sockets. A missing one is only a doubt, because
// the service manager may create it when it starts the server.
func checkSockets(cfg *config.Config) (wrong, doubts []string) {
	for _, a := range cfg.Listen.LMTP {
		if a.Network != "unix" {
			continue
		}
		err := maildir.MayWrite(filepath.Dir(a.Address))
		if err == nil {
			continue
		}
		text := fmt.Sprintf("listen.lmtp: %s cannot be created: %v", a.Address, err)
		if errors.Is(err, fs.ErrNotExist) {
			doubts = append(doubts, text)
		} else {
			wrong = append(wrong, text)
		}
	}
	return wrong, doubts
}

// checkRoom returns an error if mail is refused because too little disk space is free.
func checkRoom(cfg *config.Config) error {
	if cfg.Mail.Location.Fixed() == "" {
		return nil
	}
	a := &accounts{mail: cfg.Mail}
	free, err := a.freeSpace()
	if err != nil {
		return fmt.Errorf("mail.location: %w", err)
	}
	if free < uint64(cfg.Mail.Reserve) {
		return fmt.Errorf("mail.reserve: %d MiB are free in %s, less than the reserve of %d MiB: mail is refused for now",
			free>>20, cfg.Mail.Location.Fixed(), cfg.Mail.Reserve>>20)
	}
	return nil
}
