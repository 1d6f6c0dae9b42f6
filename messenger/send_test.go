package messenger

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/seal"
	"github.com/metaim/metaim/nprotocol"
	"github.com/metaim/metaim/signer"
)

// noise returns bytes that no compression makes smaller.
func noise(n int) []byte {
	var b []byte
	for i := uint64(0); len(b) < n; i++ {
		sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, i))
		b = append(b, sum[:]...)
	}
	return b[:n]
}

// publish makes and publishes a key of HPKE or RSA.
func (u *user) publish(secret seal.Secret, err error) {
	u.w.t.Helper()
	if err != nil {
		u.w.t.Fatal(err)
	}
	public, _ := secret.Published()
	u.secrets = append(u.secrets, signer.Secret{Secret: secret, PublicSecret: signer.PublicSecret{Label: public.ID(), Kind: secret.Kind()}})
	a := u.login()
	defer u.logout(a)
	d := Draft{Body: seal.KeyRecord(public), Type: improtocol.KeyRecord, To: []string{u.address()}}
	if _, err := a.Send(u.w.t.Context(), d, nil); err != nil {
		u.w.t.Fatal(err)
	}
	u.w.mine()
}

// share gives users a key of AES.
func share(label string, users ...*user) {
	secret := seal.NewSharedKey().Secret()
	for _, u := range users {
		u.secrets = append(u.secrets, signer.Secret{Secret: secret, PublicSecret: signer.PublicSecret{Label: label, Kind: secret.Kind()}})
	}
}

// TestEncryptions sends to two recipients with every type and opens at both.
func TestEncryptions(t *testing.T) {
	w := newWorld(t)
	alice, bob, carol, eve := w.user(), w.user(), w.user(), w.user()
	for _, u := range []*user{bob, carol} {
		u.publish(seal.NewRSA(2048))
		u.publish(seal.NewHPKE())
	}
	share("us", alice, bob, carol)
	large := noise(250_000)
	for _, c := range []struct {
		name, encryption, used, shared string
		body                           []byte
		messages, parts                int
	}{
		{"plain", improtocol.Plain, improtocol.Plain, "", []byte("hello"), 1, 1},
		{"ECC", improtocol.ECC, improtocol.ECC, "", []byte("hello"), 2, 1},
		{"RSA", improtocol.RSA, improtocol.RSA, "", []byte("hello"), 1, 1},
		{"AES", improtocol.AES, improtocol.AES, "us", []byte("hello"), 1, 1},
		{"HPKE", improtocol.HPKE, improtocol.HPKE, "", []byte("hello"), 2, 1},
		{"the strongest", Auto, improtocol.HPKE, "", []byte("hello"), 2, 1},
		{"plain in parts", improtocol.Plain, improtocol.Plain, "", large, 1, 3},
		{"ECC in parts", improtocol.ECC, improtocol.ECC, "", large, 2, 4},
		{"RSA in parts", improtocol.RSA, improtocol.RSA, "", large, 1, 4},
		{"the strongest in parts", Auto, improtocol.HPKE, "", large, 2, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := alice.login()
			defer alice.logout(a)
			d := Draft{Body: c.body, Type: "application/x-noise", FileName: "noise.bin", To: []string{bob.address(), carol.address()}, Encryption: c.encryption, Shared: c.shared}
			var heard []int64
			sent, err := a.Send(t.Context(), d, func(done, all int64) { heard = append(heard, done, all) })
			if err != nil {
				t.Fatal(err)
			}
			if sent.Encryption != c.used || sent.Parts != c.parts || len(sent.IDs) != c.messages*c.parts || len(sent.TxIDs) != len(sent.IDs) {
				t.Errorf("got %s, %d parts, %d messages; want %s, %d parts, %d messages", sent.Encryption, sent.Parts, len(sent.IDs), c.used, c.parts, c.messages*c.parts)
			}
			if n := len(heard); n != 2*len(sent.IDs) || heard[n-2] != heard[n-1] {
				t.Errorf("progress told %v", heard)
			}
			for i, u := range []*user{bob, carol} {
				id := sent.IDs[i%c.messages*c.parts].String()
				if got := u.whole(t, id); got.Err != nil || !bytes.Equal(got.Body, c.body) {
					t.Errorf("recipient %d opens %d bytes (%v), want the %d that were sent", i+1, len(got.Body), got.Err, len(c.body))
				}
				if c.used == improtocol.Plain {
					continue
				}
				if got := eve.whole(t, id); !errors.Is(got.Err, ErrNotToUs) || got.Body != nil || got.Text != "" {
					t.Errorf("a stranger opens %q (%v)", got.Body, got.Err)
				}
			}
		})
	}
}

// whole reads a message as the user.
func (u *user) whole(t *testing.T, id string) Opened {
	t.Helper()
	a := u.login()
	defer u.logout(a)
	m, err := a.Client.Message(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	opened := a.Opener().Open(m.Message)
	if opened.Verified != nil {
		t.Fatal(opened.Verified)
	}
	if opened.Parts == nil {
		return opened
	}
	g, err := a.Gather(t.Context(), m.Message)
	if err != nil {
		t.Fatal(err)
	}
	return a.Opener().OpenWhole(g)
}

func TestStrongestThatAllRead(t *testing.T) {
	w := newWorld(t)
	alice, bob, carol, dave := w.user(), w.user(), w.user(), w.user()
	bob.publish(seal.NewHPKE())
	for _, u := range []*user{bob, carol} { // whose public keys are proved then
		a := u.login()
		if _, err := a.Send(t.Context(), Draft{Body: []byte("hi"), Type: "text", To: []string{alice.address()}}, nil); err != nil {
			t.Fatal(err)
		}
		u.logout(a)
	}
	w.mine()
	a := alice.login()
	defer alice.logout(a)
	for _, c := range []struct {
		name string
		to   []*user
		want string // encryption, or what the refusal holds
	}{
		{"one with HPKE", []*user{bob}, improtocol.HPKE},
		{"one with a proved key only", []*user{carol}, improtocol.ECC},
		{"both: what both read", []*user{bob, carol}, improtocol.ECC},
		{"one with none", []*user{bob, dave}, "no public key is known for " + dave.address() + ": it has to send something once before it can be encrypted to, or publish a key"},
	} {
		d := Draft{Body: []byte("hello"), Type: "text", Encryption: Auto}
		for _, u := range c.to {
			d.To = append(d.To, u.address())
		}
		sent, err := a.Send(t.Context(), d, nil)
		switch {
		case err != nil && (!strings.Contains(err.Error(), c.want) || sent != nil):
			t.Errorf("%s: got %v, %v; want %q", c.name, sent, err, c.want)
		case err == nil && sent.Encryption != c.want:
			t.Errorf("%s: got %s, want %s", c.name, sent.Encryption, c.want)
		}
	}
}

// TestForgedKeyRecords: what a server says to be a published key isn't encrypted
// to unless its owner signed it.
func TestForgedKeyRecords(t *testing.T) {
	w := newWorld(t)
	bob, eve := w.user(), w.user()
	eve.publish(seal.NewHPKE())
	a := eve.login()
	defer eve.logout(a)
	known, err := a.Client.Address(t.Context(), eve.address())
	if err != nil || len(known.Keys) != 1 {
		t.Fatalf("%d key records (%v), want 1", len(known.Keys), err)
	}
	m := known.Keys[0]
	for _, c := range []struct {
		name   string
		change func(*client.Message)
		of     string
		want   bool
	}{
		{"as it is", func(*client.Message) {}, eve.address(), true},
		{"for another address", func(*client.Message) {}, bob.address(), false},
		{"under another address", func(m *client.Message) { m.Address = bob.address() }, bob.address(), false},
		{"with another key", func(m *client.Message) { m.Body = slices.Concat(m.Body[:40], []byte("AAAA"), m.Body[44:]) }, eve.address(), false},
		{"of another type", func(m *client.Message) { m.Type = "text" }, eve.address(), false},
	} {
		forged := m
		c.change(&forged)
		if _, err := a.published(forged, c.of); (err == nil) != c.want {
			t.Errorf("%s: got %v, want it taken: %t", c.name, err, c.want)
		}
	}
}

// TestFlushGoesOn: whatever fails at whichever message, the same messages go out,
// each once.
func TestFlushGoesOn(t *testing.T) {
	body := noise(350_000)
	for _, lost := range []bool{false, true} {
		for after := range 5 {
			name := map[bool]string{false: "request lost", true: "answer lost"}[lost]
			t.Run(name+" after "+string(rune('0'+after)), func(t *testing.T) {
				w := newWorld(t)
				alice, bob := w.user(), w.user()
				o := alice.outbox()
				id, err := o.Add(Draft{Body: body, Type: "application/x-noise", To: []string{bob.address()}, From: alice.address()})
				if err != nil {
					t.Fatal(err)
				}
				a := alice.login()
				w.breaker.breaks(after, lost)
				err = a.Flush(t.Context(), o, nil)
				w.breaker.breaks(-1, false)
				items := o.Items()
				if after < 4 && (!Offline(err) || len(items) != 1 || items[0].State != Signed || len(items[0].TxIDs) != after) {
					t.Fatalf("got %v and %d items", err, len(items))
				}
				alice.logout(a)
				if err := o.Close(); err != nil {
					t.Fatal(err)
				}
				a = alice.login()
				defer alice.logout(a)
				o = alice.outbox()
				var last Queued
				if after < 4 {
					if err := a.FlushOne(t.Context(), o, id, func(q Queued) { last = q }); err != nil {
						t.Fatal(err)
					}
					if last.State != Done || !slices.Equal(last.FrameIDs, items[0].FrameIDs) || last.DoneBytes != last.AllBytes {
						t.Errorf("got %s with %q, want what was planned: %q", last.State, last.FrameIDs, items[0].FrameIDs)
					}
				}
				if left := o.Items(); len(left) != 0 {
					t.Errorf("%d items are left", len(left))
				}
				list, occurrences := bob.messages()
				if len(list) != 4 {
					t.Fatalf("%d messages, want 4", len(list))
				}
				for id, n := range occurrences {
					if n != 1 {
						t.Errorf("message %s is on the chain %d times", id, n)
					}
				}
				if got := bob.whole(t, list[0].ID); !bytes.Equal(got.Body, body) {
					t.Errorf("got %d bytes (%v), want the file", len(got.Body), got.Err)
				}
			})
		}
	}
}

// TestFlushAfterCrashBeforeRecord: the transaction of a message was built, and
// the process died before it could note that.
func TestFlushAfterCrashBeforeRecord(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.user(), w.user()
	o := alice.outbox()
	if _, err := o.Add(Draft{Body: []byte("hello"), Type: "text", To: []string{bob.address()}}); err != nil {
		t.Fatal(err)
	}
	a := alice.login()
	q := o.items[0]
	p, err := a.plan(t.Context(), &q.draft)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.note(q, outboxRecord{Op: opPlan, ID: q.id, Plan: p}, true); err != nil {
		t.Fatal(err)
	}
	m, to := p.frame(&q.draft, 0)
	if _, err := a.build(&q.draft, m, to); err != nil {
		t.Fatal(err)
	}
	alice.logout(a)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	a, o = alice.login(), alice.outbox()
	defer alice.logout(a)
	if err := a.Flush(t.Context(), o, nil); err != nil {
		t.Fatal(err)
	}
	if _, occurrences := bob.messages(); len(occurrences) != 1 || occurrences[m.FrameID().String()] != 1 {
		t.Errorf("got %v, want the message once", occurrences)
	}
}

func TestFlushRefused(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.user(), w.user()
	a, o := alice.login(), alice.outbox()
	defer alice.logout(a)
	for _, to := range []string{"nobody", bob.address()} {
		if _, err := o.Add(Draft{Body: []byte("to " + to), Type: "text", To: []string{to}}); err != nil {
			t.Fatal(err)
		}
	}
	w.refuses("mempool full")
	if err := a.Flush(t.Context(), o, nil); err != nil {
		t.Fatal(err)
	}
	items := o.Items()
	want := []string{`name "nobody" is not registered`, "the transaction is refused: mempool full"}
	for i, q := range items {
		if q.State != Refused || q.Reason != want[i] {
			t.Errorf("item %d is %s: %q, want refused: %q", i, q.State, q.Reason, want[i])
		}
		if err := o.Retry(q.ID); err != nil {
			t.Fatal(err)
		}
	}
	w.refuses("")
	if err := a.Flush(t.Context(), o, nil); err != nil {
		t.Fatal(err)
	}
	if list, _ := bob.messages(); len(list) != 1 || string(list[0].Body) != "to "+bob.address() {
		t.Errorf("got %d messages, want the one that could be sent", len(list))
	}
	if left := o.Items(); len(left) != 1 || left[0].State != Refused {
		t.Errorf("got %v, want the one to nobody", left)
	}
}

// TestPins: a draft that names who a name must be isn't sent to anyone else.
func TestPins(t *testing.T) {
	w := newWorld(t)
	alice, bob, eve := w.user(), w.user(), w.user()
	w.mine(w.operate(nprotocol.Register, "bob", bob.key))
	a := alice.login()
	defer alice.logout(a)
	d := Draft{Body: []byte("hello"), Type: "text", To: []string{"bob"}, Pin: []string{bob.address()}}
	if _, err := a.Send(t.Context(), d, nil); err != nil {
		t.Fatal(err)
	}
	contacts, err := OpenContacts(t.TempDir() + "/contacts.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := contacts.Put(Contact{Label: "bob", Name: "bob", Address: bob.address(), Pinned: time.Now()}); err != nil {
		t.Fatal(err)
	}
	party, err := a.Resolve(t.Context(), "bob")
	if got := contacts.Check(party); err != nil || len(got) != 0 {
		t.Errorf("got %q (%v), want no warning", got, err)
	}
	w.mine()
	w.mine(w.operate(nprotocol.Transfer, "bob", bob.key, eve.key))
	var pin *PinError
	if sent, err := a.Send(t.Context(), d, nil); !errors.As(err, &pin) || pin.Found != eve.address() || sent != nil {
		t.Errorf("got %v, %v; want a PinError that names %s", sent, err, eve.address())
	}
	party, err = a.Resolve(t.Context(), "bob")
	if got := contacts.Check(party); err != nil || len(got) != 1 || !strings.Contains(got[0], "is "+eve.address()+" now") {
		t.Errorf("got %q (%v), want a warning that names %s", got, err, eve.address())
	}
}
