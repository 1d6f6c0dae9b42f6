package improtocol_test

import (
	"encoding/hex"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"pgregory.net/rapid"
)

func hexOf(b []byte) string { return hex.EncodeToString(b) }

func TestParseOther(t *testing.T) {
	for _, c := range []struct {
		name string
		text string
		want improtocol.Other
		ok   bool
	}{
		{"empty is an empty list", "", nil, true},
		{"one pair", "a=b", improtocol.Other{{"a", "b"}}, true},
		{"several pairs", "a=b&c=d&e=f", improtocol.Other{{"a", "b"}, {"c", "d"}, {"e", "f"}}, true},
		{"an empty value", "a=", improtocol.Other{{"a", ""}}, true},
		{"= in a value", "a=b=c", improtocol.Other{{"a", "b=c"}}, true},
		{"equal keys are all kept", "a=1&a=2", improtocol.Other{{"a", "1"}, {"a", "2"}}, true},
		{"an unknown key is kept", "zzz=1", improtocol.Other{{"zzz", "1"}}, true},
		{"+ is no space", "a=b+c", improtocol.Other{{"a", "b+c"}}, true},
		{"%20 is", "a=b%20c", improtocol.Other{{"a", "b c"}}, true},
		{"hex of either case", "a=%c3%A9", improtocol.Other{{"a", "é"}}, true},
		{"keys are decoded too", "%61=b", improtocol.Other{{"a", "b"}}, true},
		{"encoded brackets and marks", "a=%5B%5D%7C%26%3D", improtocol.Other{{"a", "[]|&="}}, true},
		{"an encoded & divides nothing", "a=%26b=c", improtocol.Other{{"a", "&b=c"}}, true},
		{"UTF-8 as it is", "é=世界", improtocol.Other{{"é", "世界"}}, true},
		{"an encoded NUL", "a=%00", improtocol.Other{{"a", "\x00"}}, true},
		{"text", "just a note", nil, false},
		{"no =", "a", nil, false},
		{"no key", "=b", nil, false},
		{"a part without =", "a=b&c", nil, false},
		{"a part without key", "a=b&=c", nil, false},
		{"an empty part", "a=b&&c=d", nil, false},
		{"& in front", "&a=b", nil, false},
		{"& behind", "a=b&", nil, false},
		{"& alone", "&", nil, false},
		{"a percent sign alone", "a=%", nil, false},
		{"one hex digit", "a=%4", nil, false},
		{"no hex digits", "a=%zz", nil, false},
		{"a bad escape in a key", "%=b", nil, false},
		{"a bad escape makes the whole text no list", "a=b&c=%f", nil, false},
		{"an escape that is not UTF-8", "a=%ff", nil, false},
		{"an escape of half a letter", "a=%c3", nil, false},
		{"an escape in a key that is not UTF-8", "%ff=a", nil, false},
	} {
		got, ok := improtocol.ParseOther(c.text)
		if !slices.Equal(got, c.want) || ok != c.ok {
			t.Errorf("%s: ParseOther(%q) = %q %v, want %q %v", c.name, c.text, got, ok, c.want, c.ok)
		}
	}
}

func TestOtherGet(t *testing.T) {
	list := improtocol.Other{{"a", "1"}, {"a", "2"}, {"b", ""}}
	for key, want := range map[string]string{"a": "1", "b": ""} {
		if got, ok := list.Get(key); !ok || got != want {
			t.Errorf("%s: got %q %v, want %q", key, got, ok, want)
		}
	}
	if got, ok := list.Get("A"); ok {
		t.Errorf("keys are compared byte for byte, got %q", got)
	}
}

// TestOtherRoundTrips: a list of any pairs is a field that every form carries,
// and is read back.
func TestOtherRoundTrips(t *testing.T) {
	pair := rapid.Custom(func(t *rapid.T) improtocol.Pair {
		return improtocol.Pair{Key: rapid.StringN(1, -1, -1).Draw(t, "key"), Value: rapid.String().Draw(t, "value")}
	})
	rapid.Check(t, func(t *rapid.T) {
		want := improtocol.Other(rapid.SliceOf(pair).Draw(t, "list"))
		field := want.String()
		if err := frame.CheckText(field); err != nil {
			t.Fatalf("%q: %v", field, err)
		}
		got, ok := improtocol.ParseOther(field)
		if !ok || !slices.Equal(got, want) {
			t.Fatalf("%q is written as %q and read as %q %v", want, field, got, ok)
		}
	})
}

func TestOtherStringIsReadable(t *testing.T) {
	list := improtocol.Other{{improtocol.OtherTo, "1a,1b"}, {improtocol.OtherPart, "1/3"}, {improtocol.OtherName, "my [file].txt"}}
	if got, want := list.String(), "to=1a,1b&part=1/3&name=my%20%5Bfile%5D.txt"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

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

// TestHostileOther: reading other information allocates a small multiple of the
// text at most, and nothing for what turns out to be no list.
func TestHostileOther(t *testing.T) {
	const n = 1 << 17
	for _, c := range []struct {
		name     string
		text     string
		multiple uint64
	}{
		{"131,072 &", strings.Repeat("&", n), 0},
		{"131,072 pairs", strings.Repeat("a=&", n) + "a=", 12},
		{"131,072 pairs, the last no pair", strings.Repeat("a=&", n), 0},
		{"131,072 escapes", "a=" + strings.Repeat("%41", n), 4},
		{"131,072 escapes and a bad one", "a=" + strings.Repeat("%41", n) + "%", 4},
		{"a value of 1 MB", "a=" + strings.Repeat("b", 10*n), 1},
	} {
		const slack = 4 << 10
		got, want := allocated(func() { improtocol.ParseOther(c.text) }), c.multiple*uint64(len(c.text))+slack
		if got > want {
			t.Errorf("%s: %d bytes allocated for %d, want at most %d", c.name, got, len(c.text), want)
		}
	}
}
