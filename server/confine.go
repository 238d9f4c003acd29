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

// confineProcess takes away from this process what it does not need once its listeners
// are bound. Where the kernel or a container does not support that, this is logged and
// the server runs unconfined.
func confineProcess(cfg *config.Config, users []auth.User, log *slog.Logger) {
	if err := confine.Privileges(); err != nil {
		log.Warn("privileges cannot be given up", "error", err)
	}
	// Landlock rules can only name what exists.
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
		access.Connect = true // the issuer may be reached through a proxy
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

// makeDirs creates the directories of the mail and of the cache, durably, which cannot be made up
// for once the directories above are out of reach.
func makeDirs(cfg *config.Config) error {
	mode := os.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o711 // so that users can reach their own files
	}
	return errors.Join(makeDir(cfg.CacheDir, 0o700), makeDir(cfg.Mail.Location.Fixed(), mode))
}

func makeDir(path string, mode os.FileMode) error {
	if path == "" {
		return nil
	}
	return maildir.MakeDirs(path, mode)
}

// asksIssuer reports whether tokens are checked with another server, or its keys
// are fetched from one.
func asksIssuer(o *config.OAuth) bool {
	return o != nil && (!filepath.IsAbs(o.JWKS) || o.Introspection != "")
}

// relayPorts returns the ports that must be reachable because of the relay: its own, and that
// of name servers, which send long answers over TCP.
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

// filesOf returns the directories of the files that are reread. The directories are needed
// because a file may be replaced by a new one.
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
		if real, err := filepath.EvalSymlinks(path); err == nil { // such as certbot's
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	return dirs
}

// elsewhere returns the real paths of Maildirs, and of home directories of system users, that
// the operator's symbolic links lead to, for instance on another disk.
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
		// If the Maildir does not exist yet, it will be created in the home directory.
		for _, path := range []string{root, u.Home} {
			if real, ok := byOperator(path); ok {
				dirs = append(dirs, real)
			}
		}
	}
	return dirs
}

// mostLinks is the maximum number of symbolic links in a path, as in Linux.
const mostLinks = 40

// byOperator resolves a path whose symbolic links all belong to root; ok is false if there are
// none, or others. Links of a system user could lead to files of another user.
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

// mailDirs returns the directories that contain the mail of all users, including future ones.
// nil means that it could be anywhere.
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
