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

// errorPriority is what a line about an error begins with in the journal.
const errorPriority = "<3>"

// isJournal reports whether w leads to systemd's journal, which takes lines that begin
// with a priority (sd-daemon(3)). stream is JOURNAL_STREAM of the environment, device and
// inode of what the service manager opened; it is inherited by programs whose standard
// error goes elsewhere, so that it has to be compared (systemd.exec(5)).
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

// journalHandler writes lines that begin with their priority.
type journalHandler struct {
	slog.Handler
	out *prefixWriter
}

// newJournalHandler returns the handler that format makes, with lines for the journal.
// format's handler has to write a line by one Write, as those of slog do.
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

// prefixWriter writes prefix and a line at once. mu is held from where prefix is set
// until the line is written.
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

// priority is the one of syslog(3) that a level has, as a line begins with it.
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

// printError writes the error that ends the program, which may have several lines.
func printError(to io.Writer, stream string, err error) {
	text := fmt.Sprint("maildird: ", err)
	if isJournal(to, stream) {
		text = errorPriority + strings.ReplaceAll(text, "\n", "\n"+errorPriority)
	}
	fmt.Fprintln(to, text)
}
