package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
)

// errorPriority is the prefix of an error in the journal.
const errorPriority = "<3>"

// isJournal reports whether w leads to systemd's journal, which interprets a priority at the
// beginning of a line (sd-daemon(3)). stream is the environment variable JOURNAL_STREAM: device
// and inode of what the service manager opened. It must be compared, because programs inherit
// it even if their standard error goes elsewhere (systemd.exec(5)).
func isJournal(w io.Writer, stream string) bool {
	f, ok := w.(*os.File)
	if !ok || stream == "" {
		return false
	}
	info, err := f.Stat()
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && stream == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}

// journalHandler prefixes each line with its priority.
type journalHandler struct {
	slog.Handler
	out *prefixWriter
}

// newJournalHandler returns the handler that format returns, with lines for the journal. That
// handler must write each line with a single Write, as those of slog do.
func newJournalHandler(to io.Writer, format func(io.Writer) slog.Handler) slog.Handler {
	out := &prefixWriter{to: to}
	return journalHandler{format(out), out}
}

func (h journalHandler) Handle(ctx context.Context, r slog.Record) error {
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	h.out.prefix = priority(r.Level)
	return h.Handler.Handle(ctx, r)
}

func (h journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return journalHandler{h.Handler.WithAttrs(attrs), h.out}
}

func (h journalHandler) WithGroup(name string) slog.Handler {
	return journalHandler{h.Handler.WithGroup(name), h.out}
}

// prefixWriter writes a prefix and a line at once. mu must be held from setting prefix until
// the line is written.
type prefixWriter struct {
	to     io.Writer
	mu     sync.Mutex
	prefix string
	buf    []byte
}

func (w *prefixWriter) Write(line []byte) (int, error) {
	w.buf = append(append(w.buf[:0], w.prefix...), line...)
	if n, err := w.to.Write(w.buf); err != nil {
		return max(n-len(w.prefix), 0), err
	}
	return len(line), nil
}

// priority returns the prefix for a level, with the priorities of syslog(3).
func priority(level slog.Level) string {
	switch {
	case level >= slog.LevelError:
		return errorPriority
	case level >= slog.LevelWarn:
		return "<4>"
	case level >= slog.LevelInfo:
		return "<6>"
	}
	return "<7>"
}

// printError writes the error that ends the program. It may have several lines, each of which
// is a problem of its own.
func printError(to io.Writer, stream string, err error) {
	prefix := "maildird: "
	if isJournal(to, stream) {
		prefix = errorPriority + prefix
	}
	fmt.Fprintln(to, prefix+strings.ReplaceAll(err.Error(), "\n", "\n"+prefix))
}
