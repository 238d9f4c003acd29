package mailbox

import (
	"os"
	"strings"
	"testing"
)

// guids returns the GUID of each message of a view.
func guids(c *client) (out []string) {
	for _, m := range c.all() {
		out = append(out, c.v.GUID(m))
	}
	return out
}

// TestGUIDFieldCopies: a message and all copies of it have the same GUID, even after the
// list of UIDs is lost and written again, and for other processes.
func TestGUIDFieldCopies(t *testing.T) {
	for _, base := range []string{"100.M1P1.h", "100.M1P1.h,U=7", "100 M1"} {
		t.Run(base, func(t *testing.T) {
			b, other := newBox(t), newBox(t)
			b.drop("cur/" + base + ":2,S")
			b.drop("cur/200.M1P1.h:2,")
			env := newEnv(t)
			m, n := b.open(env), other.open(env)
			defer m.Close()
			defer n.Close()
			c, d := connect(t, m, false), connect(t, n, false)
			defer c.v.Close()
			defer d.v.Close()
			for _, uid := range []uint32{1, 3} { // 3 is the copy of 1
				_, err := c.v.Copy(ctx, []uint32{uid}, m)
				must(t, err)
				c.poll(true)
			}
			_, err := c.v.Move(ctx, []uint32{4}, n)
			must(t, err)
			c.poll(true)
			d.poll(true)
			one := guids(c)
			if one[0] != one[2] || one[0] == one[1] || guids(d)[0] != one[0] {
				t.Fatalf("GUIDs %q, and %q in the other mailbox", one, guids(d))
			}
			must(t, os.Remove(b.file(uidlistName)))
			b.drop("new/")
			c.poll(true)
			later := b.open(newEnv(t))
			defer later.Close()
			e := connect(t, later, true)
			defer e.v.Close()
			if got := guids(e); strings.Join(got[:3], "|") != strings.Join(one, "|") {
				t.Errorf("GUIDs after the loss of the list are %q, were %q\n%s", got, one, b.read(uidlistName))
			}
		})
	}
}

// TestID: a mailbox whose list has no GUID gets a permanent one.
func TestID(t *testing.T) {
	b := newBox(t)
	b.drop("cur/100.M1P1.h:2,S")
	b.write(uidlistName, "1 777 20\n3 100.M1P1.h:2,S\n")
	m := b.open(newEnv(t))
	defer m.Close()
	id, err := m.ID(ctx)
	must(t, err)
	if len(id) != 32+len("-777") || !strings.HasSuffix(id, "-777") {
		t.Fatalf("ID %q", id)
	}
	other := b.open(newEnv(t))
	defer other.Close()
	for _, m := range []*Mailbox{m, other} {
		if again, err := m.ID(ctx); err != nil || again != id {
			t.Errorf("ID %q (%v), was %q", again, err, id)
		}
	}
}

func TestGUIDField(t *testing.T) {
	for ext, want := range map[string]string{"": "", "S1 W2": "", "Gabc": "abc", "S1 Gabc.d W2": "abc.d", "G": "", "SG1": ""} {
		if got := guidField(ext); got != want {
			t.Errorf("guidField(%q) = %q, want %q", ext, got, want)
		}
	}
}

// TestRenewIDOnce: a caller that learns late that another folder has the same ID does not
// replace the ID that the mailbox got because of that.
func TestRenewIDOnce(t *testing.T) {
	m := newBox(t).open(newEnv(t))
	defer m.Close()
	id := func() string {
		t.Helper()
		id, err := m.ID(ctx)
		must(t, err)
		return id
	}
	first := id()
	must(t, m.RenewID(ctx, first))
	second := id()
	if second == first {
		t.Errorf("still %s", first)
	}
	must(t, m.RenewID(ctx, first))
	if got := id(); got != second {
		t.Errorf("%s, had %s", got, second)
	}
}
