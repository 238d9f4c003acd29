package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/pelletier/go-toml/v2"
)

// file is maildird.toml as written.
type file struct {
	Hostname   string   `toml:"hostname"`
	Domains    []string `toml:"domains"`
	CacheDir   string   `toml:"cache_dir"`
	Postmaster string   `toml:"postmaster"`
	Mail       struct {
		Location   string            `toml:"location"`
		Layout     string            `toml:"layout"`
		Separator  string            `toml:"separator"`
		Prefix     string            `toml:"prefix"`
		Fsync      string            `toml:"fsync"`
		Compress   string            `toml:"compress"`
		Reserve    string            `toml:"reserve"`
		Quota      string            `toml:"quota"`
		Messages   int64             `toml:"quota_messages"`
		SpecialUse map[string]string `toml:"special_use"`
	} `toml:"mail"`
	Auth struct {
		Users         string   `toml:"users"`
		Aliases       string   `toml:"aliases"`
		PlaintextFrom []string `toml:"plaintext_from"`
		OAuth         *oauth   `toml:"oauth"`
	} `toml:"auth"`
	TLS struct {
		Cert string `toml:"cert"`
		Key  string `toml:"key"`
	} `toml:"tls"`
	Listen struct {
		SMTP        any `toml:"smtp"`
		Submission  any `toml:"submission"`
		Submissions any `toml:"submissions"`
		LMTP        any `toml:"lmtp"`
		IMAP        any `toml:"imap"`
		IMAPS       any `toml:"imaps"`
	} `toml:"listen"`
	Relay *relay `toml:"relay"`
	SMTP  struct {
		BareNewline string `toml:"bare_newline"`
		GreetDelay  string `toml:"greet_delay"`
	} `toml:"smtp"`
	IMAP struct {
		Rev2           *bool    `toml:"rev2"`
		Unauthenticate *bool    `toml:"unauthenticate"`
		UIDOnly        bool     `toml:"uidonly"`
		SubmitUsers    []string `toml:"submit_users"`
	} `toml:"imap"`
	Limits struct {
		Connections        *int   `toml:"connections"`
		ConnectionsPerIP   *int   `toml:"connections_per_ip"`
		ConnectionsPerUser *int   `toml:"connections_per_user"`
		PerMinute          *int   `toml:"connections_per_minute"`
		MessageSize        string `toml:"message_size"`
		Recipients         *int   `toml:"recipients"`
		MessagesPerHour    *int   `toml:"messages_per_hour"`
		RecipientsPerHour  *int   `toml:"recipients_per_hour"`
	} `toml:"limits"`
	Log struct {
		Level  string `toml:"level"`
		Format string `toml:"format"`
	} `toml:"log"`
	Debug struct {
		Pprof any `toml:"pprof"`
	} `toml:"debug"`
}

// Load reads the file at path. The error has a line for each problem, with the key and, where
// the key or its table is found in the file, the line number.
func Load(path string) (*Config, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	text, err := ReadFile(path)
	if errors.Is(err, syscall.EISDIR) {
		return nil, fmt.Errorf("%s is a directory, not a configuration file such as %s", path, filepath.Join(path, "maildird.toml"))
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	return parse(path, text)
}

// ReadFile reads a file that the settings name. It refuses a FIFO or a device, reading which might
// never end: at a reload, and so that not even SIGTERM would end the program.
func ReadFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() && !st.IsDir() {
		err = &fs.PathError{Op: "read", Path: path, Err: errors.New("it is not a regular file")}
	}
	if err != nil {
		return nil, err
	}
	return io.ReadAll(f)
}

// CheckText returns the problems of text as the contents of the file at path,
// which need not exist.
func CheckText(path, text string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	_, err = parse(path, []byte(text))
	return err
}

func parse(path string, text []byte) (*Config, error) {
	var f file
	text = bytes.TrimPrefix(text, []byte("\ufeff")) // some editors write a byte order mark
	dec := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return nil, syntax(path, err)
	}
	c := &checker{path: path, dir: filepath.Dir(path), text: text}
	cfg := c.check(&f)
	if len(c.problems) > 0 {
		return nil, errors.Join(c.problems...)
	}
	return cfg, nil
}
