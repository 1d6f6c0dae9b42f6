package improtocol_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"pgregory.net/rapid"
)

var (
	alice = frame.PrivateKey{Scalar: [32]byte{31: 7}}
	bob   = frame.PrivateKey{Scalar: [32]byte{0: 0x41, 31: 9}, Uncompressed: true}
)

func hello() *improtocol.Message {
	return &improtocol.Message{Source: frame.Main.Address(alice.KeyHash()), Type: improtocol.Text, Encryption: improtocol.Plain,
		Body: []byte("hello"), Other: "to=x", TimeStamp: "5"}
}

// TestIDs: the preimage is the first seven fields in brackets, the frame id is
// of it, the content id of the first six.
func TestIDs(t *testing.T) {
	m := hello()
	m.Signature = []byte("any")
	six := "[17KUVffFHVpxueePCBzp5gJWAJsz9nx5cr][" + m.Source + "][text][plain][hello][to=x]"
	if got, want := string(m.Preimage()), six+"[5]"; got != want {
		t.Errorf("preimage %q, want %q", got, want)
	}
	if got, want := m.FrameID(), frame.IDOf([]byte(six+"[5]")); got != want {
		t.Errorf("frame id %s, want %s", got, want)
	}
	if got, want := m.ContentID(), frame.IDOf([]byte(six)); got != want {
		t.Errorf("content id %s, want %s", got, want)
	}
	later, other := hello(), hello()
	later.TimeStamp, other.Signature = "6", []byte("another")
	if later.ContentID() != m.ContentID() || later.FrameID() == m.FrameID() {
		t.Error("another time stamp must change the frame id and not the content id")
	}
	if other.FrameID() != m.FrameID() {
		t.Error("identity hangs on the preimage, never on signature bytes")
	}
}

// TestParse: whose a script is.
func TestParse(t *testing.T) {
	pushes := func(fields ...string) []byte {
		b := []byte{0, 0x6a}
		for _, f := range fields {
			b = frame.AppendPush(b, []byte(f))
		}
		return b
	}
	for _, c := range []struct {
		name   string
		script []byte
		notIM  bool // ErrNotIM; otherwise a ParseError
		ok     bool
	}{
		{"eight fields under IMPI", pushes(frame.IMPI, "", "", "", "", "", "", ""), false, true},
		{"six fields under IMPI are the P protocol's", pushes(frame.IMPI, "", "", "", "", ""), true, false},
		{"six malformed fields under IMPI are the P protocol's", pushes(frame.IMPI, "[", "", "", "", ""), true, false},
		{"six fields under NPI are the N protocol's", pushes(frame.NPI, "", "", "", "", ""), true, false},
		{"eight malformed fields under NPI are the N protocol's", pushes(frame.NPI, "[", "", "", "", "", "", ""), true, false},
		{"another protocol's", pushes("19HxigV4QyBv3tHpQVcUEQyq1pzZVdoAut"), true, false},
		{"five fields under IMPI", pushes(frame.IMPI, "", "", "", ""), false, false},
		{"a bracket in the source", pushes(frame.IMPI, "[", "", "", "", "", "", ""), false, false},
	} {
		m, err := improtocol.Parse(c.script)
		var refused *frame.ParseError
		switch {
		case c.ok != (err == nil) || c.ok != (m != nil), errors.Is(err, improtocol.ErrNotIM) != c.notIM,
			!c.ok && !c.notIM && !errors.As(err, &refused):
			t.Errorf("%s: got %v, %v", c.name, m, err)
		}
	}
}

// TestAppendScriptRefuses: what a reader would take differently isn't written.
func TestAppendScriptRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		form   frame.Form
		change func(*improtocol.Message)
		want   error
	}{
		{"a time stamp with a leading zero", frame.Pushes, func(m *improtocol.Message) { m.TimeStamp = "05" }, frame.ErrTimeStamp},
		{"no time stamp", frame.Pushes, func(m *improtocol.Message) { m.TimeStamp = "" }, frame.ErrTimeStamp},
		{"a bracket in the message type", frame.Pushes, func(m *improtocol.Message) { m.Type = "a]" }, frame.ErrFieldBytes},
		{"a source that would move into the message", frame.Bracketed, func(m *improtocol.Message) { m.Source = "a][b" }, frame.ErrFieldBytes},
		{"other information that would move into the message", frame.Bracketed, func(m *improtocol.Message) { m.Other = "a][b" }, frame.ErrFieldBytes},
		{"other information that is |", frame.Bracketed, func(m *improtocol.Message) { m.Other = "|" }, frame.ErrChainField},
	} {
		m := hello()
		c.change(m)
		m.Sign(alice)
		if got, err := m.AppendScript(nil, c.form); !errors.Is(err, c.want) {
			t.Errorf("%s: got %q %v, want %v", c.name, got, err, c.want)
		}
	}
	if _, err := hello().AppendScript(nil, frame.Raw); err == nil {
		t.Error("the raw form is written")
	}
}

func TestSetTime(t *testing.T) {
	m := hello()
	for _, n := range []uint64{0, 1764000000001, 1<<64 - 1} {
		m.SetTime(n)
		if got, err := m.Time(); err != nil || got != n {
			t.Errorf("got %d %v, want %d", got, err, n)
		}
	}
}

// TestMessagesRoundTrip: a signed message is read back from both forms, with the
// same ids, and its signature proves the key.
func TestMessagesRoundTrip(t *testing.T) {
	field := rapid.String().Filter(func(s string) bool { return frame.CheckText(s) == nil })
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SampledFrom([]frame.PrivateKey{alice, bob}).Draw(t, "key")
		m := &improtocol.Message{
			Source: field.Draw(t, "source"), Type: field.Draw(t, "type"), Encryption: field.Draw(t, "encryption"),
			Body: rapid.SliceOf(rapid.Byte()).Draw(t, "message"), Other: field.Draw(t, "other"),
		}
		m.SetTime(rapid.Uint64().Draw(t, "time"))
		m.Sign(key)
		for _, form := range []frame.Form{frame.Pushes, frame.Bracketed} {
			script, err := m.AppendScript(nil, form)
			if err != nil {
				t.Fatal(err)
			}
			got, err := improtocol.Parse(script)
			if err != nil {
				t.Fatal(err)
			}
			if got.FrameID() != m.FrameID() || got.ContentID() != m.ContentID() || string(got.Body) != string(m.Body) || got.Source != m.Source {
				t.Fatalf("%s: got %+v, want %+v", form, got, m)
			}
			_, verdict := frame.Prove(got.Preimage(), got.Signature).Check(got.Preimage(), key.KeyHash(), slices.Values([][]byte(nil)))
			if verdict != frame.Valid {
				t.Fatalf("%s: signature is %s", form, verdict)
			}
		}
	})
}

func TestTo(t *testing.T) {
	for _, c := range []struct {
		name  string
		other string
		want  []string
	}{
		{"one", "to=1a", []string{"1a"}},
		{"several", "to=1a,1b,1c", []string{"1a", "1b", "1c"}},
		{"among others", "re=00&to=1a&pub=02", []string{"1a"}},
		{"the first of equal keys counts", "to=1a&to=1b", []string{"1a"}},
		{"a comma may be encoded", "to=1a%2c1b", []string{"1a", "1b"}},
		{"none", "re=00", nil},
		{"no list", "to=1a&", nil},
		{"a wrong escape anywhere makes it no list", "to=1a&x=%zz", nil},
		{"empty", "", nil},
	} {
		m := hello()
		m.Other = c.other
		got, ok := m.To()
		if !slices.Equal(got, c.want) || ok != (c.want != nil) {
			t.Errorf("%s: got %q %v, want %q", c.name, got, ok, c.want)
		}
	}
}

func TestPublicKey(t *testing.T) {
	key := alice.PublicKey()
	text := strings.ToUpper(hexOf(key))
	for _, c := range []struct {
		name  string
		other string
		ok    bool
	}{
		{"hex", "pub=" + hexOf(key), true},
		{"hex in capitals", "pub=" + text, true},
		{"behind other keys", "x=1&pub=" + text, true},
		{"a percent-encoded digit", "pub=%30" + text[1:], true},
		{"a percent-encoded key", "%70ub=" + text, true},
		{"the first of equal keys counts", "pub=00&pub=" + text, false},
		{"no list", "pub=" + text + "&", false},
		{"another case of the key", "PUB=" + text, false},
		{"too short", "pub=" + text[2:], false},
		{"none", "", false},
	} {
		got, ok := improtocol.PublicKey(c.other)
		if ok != c.ok || ok && !slices.Equal(got, key) {
			t.Errorf("%s: got %x %v, want %v", c.name, got, ok, c.ok)
		}
	}
}
