package server

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"maildird/auth"
	"maildird/server/config"
	"maildird/server/confine"
)

// confineProcess takes from this process what it does not need once its
// listeners are bound. Where the kernel or a container does not let it, the log
// says so and the server goes on.
func confineProcess(cfg *config.Config, users []auth.User, log *slog.Logger) error {
	if err := confine.Privileges(); err != nil {
		log.Warn("privileges cannot be given up", "error", err)
	}
	mail, err := mailDirs(cfg, users)
	if err != nil {
		return err
	}
	if mail == nil {
		log.Warn("files are not confined: home directories lie side by side in the root directory")
		return nil
	}
	access := confine.Access{
		Read:  append(confine.System(), filesOf(cfg)...),
		Write: append(append(mail, elsewhere(cfg, users)...), os.TempDir()),
	}
	if asksIssuer(cfg.Auth.OAuth) {
		access.Connect = true
		access.Read = append(access.Read, confine.HTTPS()...)
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
		log.Info("files are not confined: this kernel has no Landlock")
	default:
		log.Debug("files are confined", "landlock", version, "write", access.Write, "read", access.Read)
	}
	return nil
}

// asksIssuer tells whether tokens or the keys for them are asked for at another
// server.
func asksIssuer(o *config.OAuth) bool {
	return o != nil && (!filepath.IsAbs(o.JWKS) || o.Introspection != "")
}

// filesOf are the directories of the files that are read again. A file may be
// replaced by another one of its name.
func filesOf(cfg *config.Config) []string {
	var dirs []string
	files := []string{cfg.Path, cfg.Auth.Users, cfg.TLS.Cert, cfg.TLS.Key}
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

// elsewhere are the Maildirs that their paths lead to by symbolic links of the
// operator, such as one to another disk.
func elsewhere(cfg *config.Config, users []auth.User) []string {
	var dirs []string
	for _, u := range users {
		root, err := cfg.Mail.Location.Expand(u.Name, u.Home)
		if err != nil {
			continue
		}
		real, err := filepath.EvalSymlinks(root)
		if err != nil || real == root || owner(u) != nil {
			continue // a system user's own links lead to nothing that is another's
		}
		dirs = append(dirs, real)
	}
	return dirs
}

// mailDirs are the directories that users' mail is in, now and when there are
// more users. They and the cache are made, for what does not exist cannot be
// let through. None: they could be anywhere.
func mailDirs(cfg *config.Config, users []auth.User) ([]string, error) {
	if cfg.CacheDir != "" {
		if err := os.MkdirAll(cfg.CacheDir, 0o700); err != nil {
			return nil, fmt.Errorf("cannot make cache_dir: %w", err)
		}
	}
	if fixed := cfg.Mail.Location.Fixed(); fixed != "" {
		if fixed == "/" {
			return nil, nil
		}
		mode := os.FileMode(0o700)
		if os.Geteuid() == 0 {
			mode = 0o711 // users may come to what is theirs
		}
		if err := os.MkdirAll(fixed, mode); err != nil {
			return nil, fmt.Errorf("cannot make the directory of the mail: %w", err)
		}
		return []string{fixed}, nil
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
			return nil, nil
		}
		if !seen[above] {
			seen[above] = true
			dirs = append(dirs, above)
		}
	}
	return dirs, nil
}
