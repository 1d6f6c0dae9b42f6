package frame_test

import (
	"bytes"
	"runtime"
	"strings"
	"testing"

	"github.com/metaim/metaim/improtocol/frame"
)

// allocated returns the bytes that a call allocates, the least of several runs:
// others may allocate beside it.
func allocated(call func()) uint64 {
	least := ^uint64(0)
	for range 3 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		call()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	return least
}

// TestHostileScripts: what a script claims costs nothing, and what it holds is
// never copied by reading it.
func TestHostileScripts(t *testing.T) {
	big := strings.Repeat("x", 1<<20)
	for _, c := range []struct {
		name   string
		script string
	}{
		{"first push claims 4 GB", safe + "\x4e\xff\xff\xff\xff" + impi},
		{"second push claims 4 GB", safe + pushes(impi) + "\x4e\xff\xff\xff\xff"},
		{"bracketed push claims 4 GB", safe + "\x4e\xff\xff\xff\xff[" + impi + "]"},
		{"a million pushes", safe + pushes(impi) + strings.Repeat("\x01a", 1e6)},
		{"a million ][ under IMPI", safe + "[" + impi + strings.Repeat("][", 1e6) + "]"},
		{"a million ][ under NPI", safe + "[" + npi + strings.Repeat("][", 1e6) + "]"},
		{"a million ][ in a push", safe + pushes("["+npi+strings.Repeat("][", 1e6)+"]")},
		{"a million | after the frame", safe + pushes(message...) + strings.Repeat("\x01|", 1e6)},
		{"a million brackets that open", safe + "[" + impi + "]" + strings.Repeat("[", 1e6)},
		{"a message of 1 MB as pushes", safe + pushes(with(message, 5, big)...)},
		{"a message of 1 MB in brackets", safe + text(with(message, 5, big)...)},
		{"a source of 1 MB that isn't UTF-8 at its end", safe + pushes(with(message, 2, big+"\xff")...)},
	} {
		t.Run(c.name, func(t *testing.T) {
			script := []byte(c.script)
			const most = 4 << 10
			if got := allocated(func() { _, _ = frame.Read(script) }); got > most {
				t.Errorf("reading %d bytes allocates %d, want at most %d", len(script), got, most)
			}
			if got := testing.AllocsPerRun(3, func() { frame.Ours(script) }); got > 0 {
				t.Errorf("Ours allocates %v times, want never", got)
			}
		})
	}
}

func TestHostileFields(t *testing.T) {
	const most = 4 << 10
	big := strings.Repeat("1", 1<<20)
	for name, call := range map[string]func(){
		"an address of 1 MB":               func() { _, _ = frame.Main.ParseAddress(big) },
		"is 1 MB an address":               func() { frame.IsAddress(big) },
		"a public key of 1 MB":             func() { frame.ParsePublicKey(big) },
		"a hash of 1 MB":                   func() { _, _ = frame.ParseHash(big) },
		"a time stamp of 1 MB":             func() { _, _ = frame.ParseTimeStamp(big) },
		"a key pushed with a claim of 4GB": func() { frame.SpendPublicKey([]byte("\x01a\x4e\xff\xff\xff\xff")) },
	} {
		if got := allocated(call); got > most {
			t.Errorf("%s: %d bytes allocated, want at most %d", name, got, most)
		}
	}
	for name, field := range map[string][]byte{
		"1 MB of zeros":  make([]byte, 1<<20),
		"1 MB of hex":    bytes.Repeat([]byte("30"), 1<<19),
		"1 MB of base64": bytes.Repeat([]byte("AAAA"), 1<<18),
	} {
		if got := allocated(func() { _, _ = frame.ParseSignature(field) }); got > most {
			t.Errorf("a signature of %s: %d bytes allocated, want at most %d", name, got, most)
		}
	}
	script := []byte(safe + pushes(with(message, 5, big)...))
	f, err := frame.Read(script)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := allocated(func() { f.Preimage() }), uint64(2*len(script)); got > want {
		t.Errorf("the preimage of %d bytes allocates %d, want at most %d", len(script), got, want)
	}
}
