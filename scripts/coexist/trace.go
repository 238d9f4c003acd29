package coexist

import (
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"maildird/maildir/filename"
)

// Trace records what happens to the names of all messages of a tree, so that the end of a lost
// message can be reported.
type Trace struct {
	tree *Tree
	fs   *fsnotify.Watcher
	done chan struct{}

	mu     sync.Mutex
	events []traced
	ids    map[string]string // Message-ID by base
}

// traced is an event.
type traced struct {
	at   time.Time
	path string
	op   fsnotify.Op
}

// NewTrace begins to watch all folders of a tree.
func NewTrace(tree *Tree) (*Trace, error) {
	fs, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	for _, dir := range tree.dirs {
		for _, sub := range []string{"new", "cur"} {
			if err := fs.Add(filepath.Join(dir, sub)); err != nil {
				_ = fs.Close()
				return nil, err
			}
		}
	}
	t := &Trace{tree: tree, fs: fs, done: make(chan struct{}), ids: map[string]string{}}
	go t.run()
	return t, nil
}

// Close stops the trace.
func (t *Trace) Close() {
	_ = t.fs.Close()
	<-t.done
}

func (t *Trace) run() {
	defer close(t.done)
	events, errs := t.fs.Events, t.fs.Errors
	for events != nil {
		select {
		case e, ok := <-events:
			if !ok {
				events = nil
				break
			}
			t.event(e)
		case err, ok := <-errs:
			if !ok {
				errs = nil
				break
			}
			t.mu.Lock()
			t.events = append(t.events, traced{time.Now(), err.Error(), 0})
			t.mu.Unlock()
		}
	}
}

func (t *Trace) event(e fsnotify.Event) {
	if !e.Has(fsnotify.Create | fsnotify.Remove | fsnotify.Rename) {
		return
	}
	now := time.Now()
	base := filename.Base(filepath.Base(e.Name))
	t.mu.Lock()
	known := t.ids[base] != ""
	t.mu.Unlock()
	id := ""
	if !known {
		// If the file is already gone, another event for its base may find it.
		id, _ = readID(e.Name)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if id != "" {
		t.ids[base] = id
	}
	t.events = append(t.events, traced{now, e.Name, e.Op})
}

// Of returns what happened to the files of a message.
func (t *Trace) Of(id string) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var lines []string
	for _, e := range t.events {
		if e.op == 0 || t.ids[filename.Base(filepath.Base(e.path))] == id {
			lines = append(lines, e.at.Format(clock)+" "+e.op.String()+" "+e.path)
		}
	}
	return lines
}
