package coexist

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"maildird/maildir/filename"
)

// imapActor is an IMAP session that does everything that clients do.
type imapActor struct {
	name    string
	server  *Server
	ledger  *Ledger
	tree    *Tree
	folders []string

	c *Client
	v *View
	// hangUps is the number of hang-ups when the session began.
	hangUps int
}

// NewIMAPActor returns an actor that connects to a server in its first step.
func NewIMAPActor(name string, s *Server, l *Ledger, tree *Tree, folders []string) Actor {
	return &imapActor{name: name, server: s, ledger: l, tree: tree, folders: folders}
}

func (a *imapActor) Name() string { return a.name }

func (a *imapActor) Close() {
	if a.c != nil {
		a.c.Close()
	}
}

var imapSteps = []weight{
	{"select", 6}, {"noop", 12}, {"append", 10}, {"store", 26}, {"move", 10}, {"copy", 6},
	{"delete", 9}, {"expunge", 3}, {"read", 10}, {"idle", 4}, {"status", 4},
}

// Step implements Actor.
func (a *imapActor) Step(rng *rand.Rand) (string, error) {
	what := "connect"
	var err error
	if a.c == nil {
		a.hangUps = a.server.HangUps()
		if a.c, err = a.server.Dial(); err == nil {
			a.v = NewView(a.c, a.ledger)
			err = a.v.Select(a.folders[rng.IntN(len(a.folders))])
		} else if !a.server.HungUp(err, a.hangUps) {
			return what, err
		}
	} else {
		what = pick(rng, imapSteps)
		err = a.step(rng, what)
	}
	var refused *RefusedError
	if errors.As(err, &refused) && !strings.HasPrefix(refused.Answer, "BAD") {
		// Other actors have removed messages meanwhile (RFC 2180).
		a.ledger.Count(a.name + ": " + what + " refused: " + strings.TrimSpace(strings.SplitN(refused.Answer, " (", 2)[0]))
		err = a.v.Refresh()
		if errors.As(err, &refused) {
			err = nil
		}
	}
	if a.server.HungUp(err, a.hangUps) {
		a.Close()
		a.c = nil
		return what + " ended by a file of another size, or a crash", nil
	}
	return what, err
}

func (a *imapActor) step(rng *rand.Rand, what string) error {
	switch what {
	case "select":
		return a.v.Select(a.folders[rng.IntN(len(a.folders))])
	case "noop":
		return a.v.Refresh()
	case "append":
		return a.append(rng)
	case "store":
		return a.store(rng)
	case "move", "copy":
		return a.transfer(rng, what)
	case "delete":
		return a.delete(rng)
	case "expunge":
		_, err := a.c.Do("EXPUNGE")
		return err
	case "read":
		return a.read(rng)
	case "idle":
		if err := a.c.Idle(time.Duration(100+rng.IntN(900))*time.Millisecond, nil); err != nil {
			return err
		}
		return a.v.learn()
	}
	_, err := a.c.Do("STATUS %s (MESSAGES UIDNEXT UIDVALIDITY UNSEEN)", quote(other(rng, a.folders, a.v.folder)))
	return err
}

// keywordPool has fewer than 26 names, including the letters that every folder
// has from the start.
var keywordPool = []string{"$Forwarded", "$MDNSent", "$Junk", "$NotJunk", "NonJunk", "$label1", "$label2", "$label3", "work", "later"}

func flagList(rng *rand.Rand) string {
	flags := []string{`\Seen`, `\Flagged`, `\Answered`, `\Draft`}
	var some []string
	for _, f := range flags {
		if rng.IntN(3) == 0 {
			some = append(some, f)
		}
	}
	if rng.IntN(2) == 0 {
		some = append(some, keywordPool[rng.IntN(len(keywordPool))])
	}
	return "(" + strings.Join(some, " ") + ")"
}

func (a *imapActor) append(rng *rand.Rand) error {
	id, text := a.ledger.NewMail(rng, a.name)
	folder := a.folders[rng.IntN(len(a.folders))]
	text = strings.ReplaceAll(text, "\n", "\r\n")
	tagged, _, err := a.c.Tagged("APPEND %s %s {%d+}\r\n%s", quote(folder), flagList(rng), len(text), text)
	var refused *RefusedError
	if err != nil {
		if !errors.As(err, &refused) {
			a.ledger.Unsure(id, "APPEND without an answer")
		}
		return err
	}
	a.ledger.Arrived(id, folder, 1)
	_, dest, err := uidCode(tagged, "APPENDUID")
	if err != nil || len(dest) != 1 {
		return fmt.Errorf("answer %q: %w", tagged, err)
	}
	a.ledger.Saw(a.server.Name+" (APPENDUID)", folder, dest[0], id)
	return nil
}

// some chooses up to n messages of the view.
func (a *imapActor) some(rng *rand.Rand, n int) []uint32 {
	known := a.v.Known()
	rng.Shuffle(len(known), func(i, j int) { known[i], known[j] = known[j], known[i] })
	return known[:min(len(known), 1+rng.IntN(n))]
}

func (a *imapActor) store(rng *rand.Rand) error {
	uids := a.some(rng, 12)
	if len(uids) == 0 {
		return nil
	}
	// Never plain FLAGS: it would remove the \Deleted with which another session is about
	// to remove a message.
	_, err := a.c.Do("UID STORE %s %sFLAGS %s", set(uids), []string{"+", "-"}[rng.IntN(2)], flagList(rng))
	return err
}

// claim reserves some messages of the view.
func (a *imapActor) claim(rng *rand.Rand, what string, n int) (uids []uint32, ids map[uint32]string, release func()) {
	ids = map[uint32]string{}
	var claimed []string
	for _, uid := range a.some(rng, n) {
		if id := a.v.ids[uid]; a.ledger.Claim(id, fmt.Sprintf("%s: %s UID %d of %s", a.name, what, uid, a.v.folder)) {
			uids, claimed = append(uids, uid), append(claimed, id)
			ids[uid] = id
		}
	}
	return uids, ids, func() { a.ledger.Release(claimed...) }
}

// transfer copies or moves some messages to another folder.
func (a *imapActor) transfer(rng *rand.Rand, what string) error {
	uids, ids, release := a.claim(rng, what, 3)
	defer release()
	from, to := a.v.folder, other(rng, a.folders, a.v.folder)
	uids, err := a.safe(uids, ids, from, to)
	if err != nil || len(uids) == 0 {
		return err
	}
	before, err := a.lying(what, ids, from)
	if err != nil {
		return err
	}
	tagged, untagged, err := a.c.Tagged("UID %s %s %s", strings.ToUpper(what), set(uids), quote(to))
	texts := []string{tagged}
	for _, r := range untagged {
		texts = append(texts, r.Text)
	}
	arrived, cerr := a.arrivals(texts, ids, from, to)
	if cerr != nil {
		return cerr
	}
	moved := map[string]int{}
	if what == "move" {
		for _, uid := range arrived {
			moved[ids[uid]]++
			if a.v.Has(uid) {
				a.ledger.Fault("%s: UID %d of %s was moved and no EXPUNGE told", a.server.Name, uid, from)
			}
		}
	}
	var refused *RefusedError
	if err != nil && !errors.As(err, &refused) {
		for _, id := range ids {
			a.ledger.Unsure(id, what+" without an answer")
		}
		return err
	}
	after, lerr := a.lying(what, ids, from)
	if lerr != nil {
		return lerr
	}
	for id, n := range moved {
		if before != nil {
			left := min(n, before[id]-after[id])
			if left < n {
				a.ledger.Either(id, n-left)
			}
			n = left
		}
		a.ledger.Left(id, n)
	}
	return err
}

// arrivals records what the COPYUID codes of a response say about arrivals in a folder, and
// returns the source UIDs.
func (a *imapActor) arrivals(texts []string, ids map[uint32]string, from, to string) (arrived []uint32, err error) {
	for _, text := range texts {
		if !strings.Contains(text, "[COPYUID ") {
			continue
		}
		source, dest, err := uidCode(text, "COPYUID")
		if err != nil || len(source) != len(dest) {
			return nil, fmt.Errorf("answer %q: %w", text, errors.Join(errSyntax, err))
		}
		for i, uid := range source {
			id := ids[uid]
			if id == "" {
				return nil, fmt.Errorf("answer %q names UID %d of %s, which was not asked for", text, uid, from)
			}
			a.ledger.Arrived(id, to, 1)
			a.ledger.Saw(a.server.Name+" (COPYUID)", to, dest[i], id)
			arrived = append(arrived, uid)
		}
	}
	return arrived, nil
}

// lying counts the files in the source of the messages that Dovecot is to move; it returns nil
// for other servers and commands. If a file was removed and another one with the same base came
// back before a session of Dovecot looked, the file gets a new UID; a MOVE of the old UID then
// copies the file and removes none.
func (a *imapActor) lying(what string, ids map[uint32]string, from string) (map[string]int, error) {
	if what != "move" || a.server.log == "" {
		return nil, nil
	}
	files := map[string]int{}
	for _, id := range ids {
		found, err := a.tree.instances(from, id)
		if err != nil {
			return nil, err
		}
		files[id] = len(found)
	}
	return files, nil
}

// safe leaves out messages that Dovecot must not be asked to copy. Its COPY and MOVE keep the
// base of a name. If the destination has a file with this base, a copy made by hand, that
// Dovecot has not seen yet, it renames over it, or takes two links of one file for duplicates
// and removes one: there is one copy fewer than before. maildird checks for this, so it is
// asked for these messages too.
func (a *imapActor) safe(uids []uint32, ids map[uint32]string, from, to string) ([]uint32, error) {
	if a.server.log == "" || len(uids) == 0 {
		return uids, nil
	}
	shared, err := a.tree.shared(from, to)
	return slices.DeleteFunc(uids, func(uid uint32) bool { return shared[ids[uid]] }), err
}

// uidCode parses the sets of APPENDUID or COPYUID (RFC 4315).
func uidCode(text, name string) (source, dest []uint32, err error) {
	_, rest, ok := strings.Cut(text, "["+name+" ")
	words := strings.Fields(strings.SplitN(rest, "]", 2)[0])
	if !ok || len(words) < 2 {
		return nil, nil, fmt.Errorf("no %s: %w", name, errSyntax)
	}
	if dest, err = expand(words[len(words)-1]); err != nil || len(words) == 2 {
		return nil, dest, err
	}
	source, err = expand(words[1])
	return source, dest, err
}

func expand(set string) ([]uint32, error) {
	var uids []uint32
	for part := range strings.SplitSeq(set, ",") {
		from, to, isRange := strings.Cut(part, ":")
		first, err := strconv.ParseUint(from, 10, 32)
		if err != nil {
			return nil, err
		}
		last := first
		if isRange {
			if last, err = strconv.ParseUint(to, 10, 32); err != nil {
				return nil, err
			}
		}
		for n := min(first, last); n <= max(first, last); n++ {
			uids = append(uids, uint32(n))
		}
	}
	return uids, nil
}

// delete permanently removes a message.
func (a *imapActor) delete(rng *rand.Rand) error {
	uids, ids, release := a.claim(rng, "delete", 1)
	defer release()
	if len(uids) == 0 {
		return nil
	}
	uid, id := uids[0], ids[uids[0]]
	// Nobody else removes it now. Whether it exists at all, the server must prove
	// by sending its text.
	there := false
	fetched, err := a.c.Do("UID FETCH %d (UID BODY.PEEK[])", uid)
	for _, r := range fetched {
		if m, whole, err := message(r); err == nil && whole && m.UID == uid && m.ID == id {
			there = true
		}
	}
	if err != nil || !there {
		return err
	}
	before, err := a.tree.instances(a.v.folder, id)
	if err != nil {
		return err
	}
	if err := a.expunge(uid, id); err != nil {
		return err
	}
	after, err := a.tree.instances(a.v.folder, id)
	if err != nil {
		return err
	}
	a.ledger.Left(id, len(before)-len(after))
	if len(after) == len(before) {
		return a.reappeared(id)
	}
	return nil
}

// expunge sets \Deleted and expunges, until the message is gone in this session.
func (a *imapActor) expunge(uid uint32, id string) error {
	for try := 0; a.v.Has(uid); try++ {
		if try == 5 {
			a.ledger.Fault("%s: UID %d of %s (%s) is still there after %d EXPUNGEs", a.server.Name, uid, a.v.folder, id, try)
			return nil
		}
		_, err := a.c.Do("UID STORE %d +FLAGS.SILENT (\\Deleted)", uid)
		if err == nil {
			_, err = a.c.Do("UID EXPUNGE %d", uid)
		}
		var refused *RefusedError
		if errors.As(err, &refused) {
			_, err = a.c.Do("NOOP")
		}
		if err != nil {
			a.ledger.Unsure(id, "EXPUNGE without an answer")
			return err
		}
	}
	return nil
}

// reappeared removes \Deleted from the files of a message that the session was told is gone but
// which exists: the server took it for gone because a listing missed it, and will show it again
// under a new UID. The EXPUNGE of another session that saw the flag before may still remove the
// file: the user wanted it gone.
func (a *imapActor) reappeared(id string) error {
	a.ledger.Count(a.name + ": was told that a message is gone that is not")
	a.ledger.Either(id, 1)
	files, err := a.tree.list(a.v.folder)
	if err != nil {
		return err
	}
	for _, f := range files {
		flags := filename.FlagsOf(f.Name)
		if got, err := a.tree.id(f); err != nil || got != id || flags&filename.Deleted == 0 {
			continue
		}
		to := File{f.Folder, f.Sub, filename.WithFlags(f.Name, flags&^filename.Deleted)}
		if err := os.Rename(a.tree.path(f), a.tree.path(to)); err != nil {
			a.ledger.Unsure(id, "reappeared and could not be undeleted")
		}
	}
	return nil
}

// read fetches whole messages and compares them with what was stored.
func (a *imapActor) read(rng *rand.Rand) error {
	uids := a.some(rng, 3)
	if len(uids) == 0 {
		return nil
	}
	fetched, err := a.c.Do("UID FETCH %s (UID BODY.PEEK[])", set(uids))
	for _, r := range fetched {
		if r.Name != "FETCH" || len(r.Args) != 1 {
			continue
		}
		items := r.Args[0].List
		for i := 0; i+1 < len(items); i += 2 {
			if strings.EqualFold(items[i].Text, "BODY[]") && items[i+1].Kind == Quoted {
				text := items[i+1].Text
				a.ledger.CheckBody(a.server.Name, MessageID(text), text)
			}
		}
	}
	return err
}
