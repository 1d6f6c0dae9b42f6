package nprotocol_test

import (
	"bytes"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/nprotocol"
)

// FuzzParse: reading a script as a record never panics; one that is read obeys
// the rules of names, IPs and addresses, and is written again, when its time
// stamp is one, and read as the same record with the same preimage.
func FuzzParse(f *testing.F) {
	for _, v := range readVectors(f) {
		f.Add(unhex(f, v.Script), true)
	}
	a, b := address(alice), address(bob)
	for _, s := range [][]byte{
		script(frame.NPI, "bob", a, "", "5", "sig"), script(frame.NPI, "bob", a, "", "delete", "5", "sig"),
		script(frame.NPI, "bob", a, b, "", "5", "sig", "sig"), script(frame.NPI, "bob", a, b, "delete", "5", "sig", "sig"),
		script(frame.IMPI, a, "::1", "", "5", "sig"), script(frame.IMPI, a, "1.2.3.4:5", "", "delete", "05", "sig"),
	} {
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, s []byte, main bool) {
		network := frame.Regtest
		if main {
			network = frame.Main
		}
		r, err := nprotocol.Parse(s, network)
		if err != nil {
			var refused *frame.ParseError
			if r != nil || !errors.Is(err, nprotocol.ErrNotRecord) && !errors.As(err, &refused) {
				t.Fatalf("got %+v, error %T", r, err)
			}
			return
		}
		if r.Protocol == frame.N && nprotocol.CheckName(r.Name) != nil || r.Protocol == frame.P && nprotocol.CheckIP(r.IP) != nil ||
			len(r.Signatures) != len(r.Signers()) {
			t.Fatalf("read against the rules: %+v", r)
		}
		read, err := frame.Read(s)
		if err != nil || !bytes.Equal(read.Preimage(), r.Preimage(network)) {
			t.Fatalf("preimage %q, want that of the frame %q, %v", r.Preimage(network), read.Preimage(), err)
		}
		if _, err := r.Time(); err != nil {
			return
		}
		again, err := r.AppendScript(nil, network, frame.Pushes)
		if err != nil {
			t.Fatal(err)
		}
		back, err := nprotocol.Parse(again, network)
		if err != nil || back.Operation != r.Operation || !bytes.Equal(back.Preimage(network), r.Preimage(network)) {
			t.Fatalf("got %+v %v, want %+v", back, err, r)
		}
	})
}

// TestHostileRecords: refusing a record copies none of what it holds.
func TestHostileRecords(t *testing.T) {
	big := strings.Repeat("1", 1<<20)
	a := address(alice)
	for name, s := range map[string][]byte{
		"a name of 1 MB":     script(frame.NPI, big, a, "", "5", "sig"),
		"an address of 1 MB": script(frame.NPI, "bob", big, "", "5", "sig"),
		"an IP of 1 MB":      script(frame.IMPI, a, big, "", "5", "sig"),
		"a word of 1 MB":     script(frame.NPI, "bob", a, "", big, "5", "sig"),
	} {
		least := ^uint64(0)
		for range 3 {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if _, err := nprotocol.Parse(s, frame.Regtest); err == nil {
				t.Errorf("%s: read", name)
			}
			runtime.ReadMemStats(&after)
			least = min(least, after.TotalAlloc-before.TotalAlloc)
		}
		if most := uint64(2 * len(s)); least > most {
			t.Errorf("%s: %d bytes allocated for %d, want at most %d", name, least, len(s), most)
		}
	}
}
