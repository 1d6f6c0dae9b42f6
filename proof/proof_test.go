package proof_test

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/internal/simchain"
	"github.com/metaim/metaim/proof"
)

// TestVerify: a message is proved wherever it stands in a block, however it is
// written and signed; and what is said of it names what isn't proved.
func TestVerify(t *testing.T) {
	named := func(m *improtocol.Message) { m.Source = "alice" }
	for _, c := range []struct {
		name      string
		before    int // foreign transactions before it, beside the coinbase
		after     int
		signature simchain.SignatureForm
		form      simchain.ScriptForm
		edits     []func(*improtocol.Message)
		unproved  string
	}{
		{"the last of two", 0, 0, simchain.Compact, simchain.Pushes, nil, "most work"},
		{"the last of three, its own sibling", 1, 0, simchain.Compact, simchain.Pushes, nil, "time stamp"},
		{"the last of five, its own sibling twice", 3, 0, simchain.CompactRaw, simchain.Pushes, nil, "first time"},
		{"among many", 100, 77, simchain.Compact, simchain.Bracketed, nil, "most work"},
		{"signed in DER, by the key of an input", 2, 2, simchain.DERHex, simchain.Pushes, nil, "most work"},
		{"by a name", 2, 2, simchain.Compact, simchain.Pushes, []func(*improtocol.Message){named}, `name "alice" belonged to ` + alice.Address()},
		{"by a name, signed in DER", 2, 2, simchain.DERBase64, simchain.Pushes, []func(*improtocol.Message){named}, `name "alice" belonged to ` + alice.Address()},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld()
			w.mine()
			raw := w.message("hello", c.signature, c.form, c.edits...)
			block := w.mine(slices.Concat(w.foreign(c.before), [][]byte{raw}, w.foreign(c.after))...)
			w.mine()
			p := w.proofs(t, raw)[0]
			got, err := proof.Verify(&p, mustHeaders(t, headers(w.tip)))
			if err != nil {
				t.Fatal(err)
			}
			if got.Address != alice.Address() || got.Height != 2 || got.Block != block.Hash.String() || got.Confirmations != 2 ||
				got.BlockTime != block.Header.Time() || got.Network != "regtest" || got.ID != p.ID || got.WorkBits != 2 || got.ChainWorkBits != 3 {
				t.Errorf("got %+v", got)
			}
			if text := strings.Join(got.NotProved, " "); !strings.Contains(text, c.unproved) {
				t.Errorf("not proved: %s; want it to say %q", text, c.unproved)
			}
			if text := strings.Join(got.Proved, " "); !strings.Contains(text, "key of "+alice.Address()+" signed") {
				t.Errorf("proved: %s", text)
			}
		})
	}
}

// TestVerifyRefuses: proofs that are well made and prove nothing.
func TestVerifyRefuses(t *testing.T) {
	w := newWorld()
	w.mine()
	stolen := w.message("by somebody else", simchain.Compact, simchain.Pushes, func(m *improtocol.Message) { m.Source = bob.Address() })
	undated := w.message("when?", simchain.Compact, simchain.Pushes, func(m *improtocol.Message) { m.TimeStamp = "today" })
	good := w.message("good", simchain.Compact, simchain.Pushes)
	block := w.mine(stolen, undated, good)
	list := w.proofs(t, stolen, undated, good)
	whole := headers(w.mine())
	change := func(edit func(p *client.Proof)) client.Proof {
		p := list[2]
		edit(&p)
		return p
	}
	for _, c := range []struct {
		name    string
		proof   client.Proof
		headers []byte
		want    error
	}{
		{"signed by another key than the source's", list[0], whole, proof.ErrSignature},
		{"a time stamp that is none", list[1], whole, proof.ErrMessage},
		{"headers that end before the block", list[2], headers(block.Parent), proof.ErrShort},
		{"headers of another branch", list[2], headers(w.tree.Mine(block.Parent, genesisTime, nil)), proof.ErrChain},
		{"another output", change(func(p *client.Proof) { p.Output = 1 }), whole, proof.ErrMessage},
		{"an output that isn't there", change(func(p *client.Proof) { p.Output = 9 }), whole, proof.ErrMessage},
		{"another message's id", change(func(p *client.Proof) { p.ID = list[0].ID }), whole, proof.ErrMessage},
		{"another transaction", change(func(p *client.Proof) { p.Raw = list[0].Raw }), whole, proof.ErrForm},
		{"another transaction and its id", change(func(p *client.Proof) {
			p.Raw, p.TxID = list[0].Raw, list[0].TxID
			p.BEEF = hex.EncodeToString(proof.AppendBEEF(nil, unhex(t, p.Raw), unhex(t, p.BUMP)))
		}), whole, proof.ErrPath},
		{"another height", change(func(p *client.Proof) { p.Block.Height++ }), whole, proof.ErrForm},
		{"another header", change(func(p *client.Proof) { p.Block.Header = hex.EncodeToString(block.Parent.Header[:]) }), whole, proof.ErrHeader},
		{"another header and its hash", change(func(p *client.Proof) {
			p.Block.Header, p.Block.Hash = hex.EncodeToString(block.Parent.Header[:]), block.Parent.Hash.String()
		}), whole, proof.ErrPath},
		{"capital digits", change(func(p *client.Proof) { p.Raw = strings.ToUpper(p.Raw) }), whole, proof.ErrForm},
		{"a short header", change(func(p *client.Proof) { p.Block.Header = p.Block.Header[:158] }), whole, proof.ErrForm},
		{"nothing", client.Proof{}, whole, proof.ErrForm},
	} {
		if got, err := proof.Verify(&c.proof, mustHeaders(t, c.headers)); !errors.Is(err, c.want) || got != nil {
			t.Errorf("%s: got %+v, %v; want %v", c.name, got, err, c.want)
		}
	}
}

// TestEveryByteCounts: with any one byte of any field changed, a proof proves
// nothing.
func TestEveryByteCounts(t *testing.T) {
	good, file := sample(t)
	chain := mustHeaders(t, file)
	if _, err := proof.Verify(&good, chain); err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, field := range []struct {
		name string
		of   func(*client.Proof) *string
	}{
		{"id", func(p *client.Proof) *string { return &p.ID }},
		{"txid", func(p *client.Proof) *string { return &p.TxID }},
		{"raw", func(p *client.Proof) *string { return &p.Raw }},
		{"bump", func(p *client.Proof) *string { return &p.BUMP }},
		{"beef", func(p *client.Proof) *string { return &p.BEEF }},
		{"hash", func(p *client.Proof) *string { return &p.Block.Hash }},
		{"header", func(p *client.Proof) *string { return &p.Block.Header }},
	} {
		whole := unhex(t, *field.of(&good))
		for i := range whole {
			for _, bit := range []byte{0x01, 0x80} {
				p := good
				changed := slices.Clone(whole)
				changed[i] ^= bit
				*field.of(&p) = hex.EncodeToString(changed)
				if field.name == "raw" || field.name == "bump" { // consistently, so that more than BEEF tells
					p.BEEF = hex.EncodeToString(proof.AppendBEEF(nil, unhex(t, p.Raw), unhex(t, p.BUMP)))
				}
				if got, err := proof.Verify(&p, chain); err == nil {
					t.Errorf("%s with byte %d changed by %#x: got %+v, want a refusal", field.name, i, bit, got)
				}
				tried++
			}
		}
		for _, n := range []int{0, 1, len(whole) - 1} {
			p := good
			*field.of(&p) = hex.EncodeToString(whole[:n])
			if _, err := proof.Verify(&p, chain); err == nil {
				t.Errorf("%s cut to %d bytes: no error", field.name, n)
			}
		}
	}
	if tried < 2000 {
		t.Errorf("only %d changes tried", tried)
	}
}

// TestEveryByteOfHeaders: with any one byte of the headers up to the block
// changed, nothing is proved. (A byte behind it makes another chain, of less
// work.)
func TestEveryByteOfHeaders(t *testing.T) {
	p, file := sample(t)
	for i := range (int(p.Block.Height) + 1) * client.HeaderBytes {
		changed := slices.Clone(file)
		changed[i] ^= 1
		h, err := proof.ReadHeaders(strings.NewReader(string(changed)))
		if err != nil {
			continue
		}
		if _, err = proof.Verify(&p, h); err == nil {
			t.Errorf("with byte %d of the headers changed: no error", i)
		}
	}
}

// TestRead: what is written is read back; and of its text with any one byte
// changed, either nothing is proved or exactly the same.
func TestRead(t *testing.T) {
	p, file := sample(t)
	chain := mustHeaders(t, file)
	want, err := proof.Verify(&p, chain)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	back, err := proof.Read(strings.NewReader(string(text)))
	if err != nil || *back != p {
		t.Errorf("read back: got %+v, %v; want %+v", back, err, p)
	}
	for i := range text {
		changed := slices.Clone(text)
		changed[i] ^= 1
		read, err := proof.Read(strings.NewReader(string(changed)))
		if err != nil {
			continue
		}
		if got, err := proof.Verify(read, chain); err == nil && !reflect.DeepEqual(got, want) {
			t.Errorf("with byte %d changed: got %+v, want %+v or a refusal", i, got, want)
		}
	}
	for name, text := range map[string]string{
		"nothing":               "",
		"no object":             `[]`,
		"a field more":          `{"raws":""}`,
		"something else":        string(text) + "{}",
		"cut":                   string(text[:len(text)/2]),
		"a number for a text":   `{"id":1}`,
		"a height that is none": `{"block":{"height":4294967296}}`,
	} {
		if _, err := proof.Read(strings.NewReader(text)); !errors.Is(err, proof.ErrForm) {
			t.Errorf("%s: got %v, want %v", name, err, proof.ErrForm)
		}
	}
}
