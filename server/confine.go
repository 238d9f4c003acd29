package server

import (
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"maildird/auth"
	"maildird/maildir"
	"maildird/server/config"
	"maildird/server/confine"
)

// confineProcess takes from this process what it does not need once its
// listeners are bound. Where the kernel or a container does not let it, the log
// says so and the server goes on.
func confineProcess(cfg *config.Config, users []auth.User, log *slog.Logger) {
	if err := confine.Privileges(); err != nil {
		log.Warn("privileges cannot be given up", "error", err)
	}
	// What does not exist cannot be let through.
	if err := makeDirs(cfg); err != nil {
		log.Warn("a missing directory cannot be created: create it, and restart", "error", err)
	}
	mail := mailDirs(cfg, users)
	if mail == nil {
		log.Warn("files are not confined: home directories are directly in the root directory")
		return
	}
	access := confine.Access{
		Read:  append(confine.System(), filesOf(cfg)...),
		Write: append(append(mail, elsewhere(cfg, users)...), os.TempDir()),
	}
	if asksIssuer(cfg.Auth.OAuth) {
		access.Connect = true // it may be reached by a proxy
	}
	access.Ports = relayPorts(cfg.Relay)
	if access.Connect || len(access.Ports) > 0 {
		access.Read = append(access.Read, confine.Servers()...)
	}
	if cfg.CacheDir != "" {
		access.Write = append(access.Write, cfg.CacheDir)
	}
	for _, a := range cfg.Listen.LMTP {
		if a.Network == "unix" {
			access.Remove = append(access.Remove, filepath.Dir(a.Address))
		}
	}
	version, err := confine.Files(access)
	switch {
	case err != nil:
		log.Warn("files are not confined", "error", err)
	case version == 0:
		log.Info("files are not confined: this kernel has no Landlock of version 2 (Linux 5.19)")
	default:
		log.Debug("files are confined", "landlock", version, "write", access.Write, "read", access.Read)
	}
}

// makeDirs makes the directory of the mail, and that of the cache.
func makeDirs(cfg *config.Config) error {
	mode := os.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o711 // users may come to what is theirs
	}
	return errors.Join(makeDir(cfg.CacheDir, 0o700), makeDir(cfg.Mail.Location.Fixed(), mode))
}

func makeDir(path string, mode os.FileMode) error {
	if path == "" {
		return nil
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return maildir.MakeDirs(path, mode)
}

// asksIssuer tells whether tokens or the keys for them are asked for at another
// server.
func asksIssuer(o *config.OAuth) bool {
	return o != nil && (!filepath.IsAbs(o.JWKS) || o.Introspection != "")
}

// relayPorts are the ports that connections go to because of the relay: its own, and
// that of name servers, whose long answers come by TCP.
func relayPorts(r *config.Relay) []uint16 {
	if r == nil {
		return nil
	}
	_, text, err := net.SplitHostPort(r.Address)
	if err != nil {
		return nil
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return nil
	}
	return []uint16{uint16(port), 53}
}

// filesOf are the directories of the files that are read again. A file may be
// replaced by another one of its name.
func filesOf(cfg *config.Config) []string {
	var dirs []string
	files := []string{cfg.Path, cfg.Auth.Users, cfg.Auth.Aliases, cfg.TLS.Cert, cfg.TLS.Key}
	if o := cfg.Auth.OAuth; o != nil {
		files = append(files, o.JWKS)
	}
	for _, path := range files {
		if !filepath.IsAbs(path) {
			continue
		}
		dirs = append(dirs, filepath.Dir(path))
		if real, err := filepath.EvalSymlinks(path); err == nil { // as certbot's are
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	return dirs
}

// elsewhere are the Maildirs, and the home directories of system users, that
// their paths lead to by symbolic links of the operator, such as one to another
// disk.
func elsewhere(cfg *config.Config, users []auth.User) []string {
	var dirs []string
	for _, u := range users {
		root, err := cfg.Mail.Location.Expand(u.Name, u.Home)
		if err != nil {
			continue
		}
		if owner(u) == nil {
			if real, err := filepath.EvalSymlinks(root); err == nil && real != root {
				dirs = append(dirs, real)
			}
			continue
		}
		// The Maildir may not be there yet: then it is made in the home directory.
		for _, path := range []string{root, u.Home} {
			if real, ok := byOperator(path); ok {
				dirs = append(dirs, real)
			}
		}
	}
	return dirs
}

// mostLinks is how many symbolic links a path may lead through, as in Linux.
const mostLinks = 40

// byOperator tells where a path leads by symbolic links that are all root's; ok
// is false if there are none. Those of a system user may lead to what is another's.
func byOperator(path string) (real string, ok bool) {
	if !filepath.IsAbs(path) {
		return "", false
	}
	done, rest, links := "/", path, 0
	for {
		name, after, _ := strings.Cut(strings.TrimLeft(rest, "/"), "/")
		if name == "" {
			return done, links > 0
		}
		next := filepath.Join(done, name)
		st, err := os.Lstat(next)
		if err != nil {
			return "", false
		}
		if st.Mode()&fs.ModeSymlink == 0 {
			done, rest = next, after
			continue
		}
		target, err := os.Readlink(next)
		if sys, known := st.Sys().(*syscall.Stat_t); err != nil || !known || sys.Uid != 0 || links == mostLinks {
			return "", false
		}
		if links++; filepath.IsAbs(target) {
			done = "/"
		}
		rest = target + "/" + after
	}
}

// mailDirs are the directories that users' mail is in, now and when there are
// more users. None: they could be anywhere.
func mailDirs(cfg *config.Config, users []auth.User) []string {
	if fixed := cfg.Mail.Location.Fixed(); fixed == "/" {
		return nil
	} else if fixed != "" {
		return []string{fixed}
	}
	seen := map[string]bool{}
	var dirs []string
	for _, u := range users {
		if !filepath.IsAbs(u.Home) {
			continue
		}
		above := filepath.Dir(filepath.Clean(u.Home))
		if above == "/" {
			above = filepath.Clean(u.Home) // a container's /mail, or /root
		}
		if above == "/" {
			return nil
		}
		if !seen[above] {
			seen[above] = true
			dirs = append(dirs, above)
		}
	}
	return dirs
}
