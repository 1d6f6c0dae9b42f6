package chat

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
)

func TestMarks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "marks.json")
	m, err := OpenMarks(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Begin("regtest"); err != nil {
		t.Fatal(err)
	}
	if !m.Add(bob, idOf(1), idOf(2)) || m.Add(bob, idOf(2)) {
		t.Error("Add: want a change the first time only")
	}
	m.Add(Peer{Address: carolAddress}, idOf(3))
	m.Choose(bob, true)
	for i := range 3 * mostMarks {
		m.Add(Peer{Address: carolAddress}, idOf(1000+i))
	}
	if err := m.Save(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode: got %v (%v), want 0600", info.Mode(), err)
	}
	if m, err = OpenMarks(path); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, peer string
		id         int
		want       bool
	}{
		{"read", bobAddress, 1, true},
		{"not read", bobAddress, 3, false},
		{"read elsewhere", carolAddress, 1, false},
		{"long ago", carolAddress, 3, false},
		{"lately", carolAddress, 1000 + 3*mostMarks - 1, true},
		{"unknown peer", "x", 1, false},
	} {

		if got := m.Read(c.peer, idOf(c.id)); got != c.want {
			t.Errorf("%s: got %t, want %t", c.name, got, c.want)
		}
	}
	if sealed, chosen := m.Sealed(bobAddress); !sealed || !chosen {
		t.Error("Sealed: want what was chosen")
	}
	if _, chosen := m.Sealed(carolAddress); chosen {
		t.Error("Sealed: nothing was chosen for carol")
	}
	if m.Network() != "regtest" || m.Peers()[1].Address != bobAddress || m.Peers()[1].Name != "bob" {
		t.Errorf("got %s and %+v, want regtest and bob second", m.Network(), m.Peers())
	}
	for i := range mostPeers + 10 {
		m.Add(Peer{Address: idOf(i)})
	}
	if n := len(m.Peers()); n != mostPeers {
		t.Errorf("peers: got %d, want %d at most", n, mostPeers)
	}
}

func TestMarksThatAreNone(t *testing.T) {
	for _, c := range []struct{ name, content string }{
		{"nothing", ""}, {"no JSON", "hello"}, {"of another version", `{"version":2}`}, {"another type", `{"version":1,"peers":3}`},
	} {
		path := filepath.Join(t.TempDir(), "marks")
		if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenMarks(path); err == nil || !strings.Contains(err.Error(), "move it away") {
			t.Errorf("%s: got %v, want what to do", c.name, err)
		}
	}
}

func TestReadPicture(t *testing.T) {
	small := image.NewRGBA(image.Rect(0, 0, 10, 20))
	for i := range 10 * 20 {
		small.Set(i%10, i/10, color.RGBA{200, 100, 50, 255})
	}
	var asPNG, asJPEG, asGIF bytes.Buffer
	if err := errors.Join(png.Encode(&asPNG, small), jpeg.Encode(&asJPEG, small, nil), gif.Encode(&asGIF, small, nil)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		body []byte
		ok   bool
	}{
		{"PNG", asPNG.Bytes(), true},
		{"JPEG", asJPEG.Bytes(), true},
		{"GIF", asGIF.Bytes(), true},
		{"nothing", nil, false},
		{"text", []byte("hello"), false},
		{"half of one", asPNG.Bytes()[:len(asPNG.Bytes())/2], false},
		{"a bomb of 60,000 by 60,000", sized(asPNG.Bytes(), 60_000, 60_000), false},
		{"a bomb of 2,147,483,647 by 2,147,483,647", sized(asPNG.Bytes(), 1<<31-1, 1<<31-1), false},
		{"no width", sized(asPNG.Bytes(), 0, 20), false},
		{"a larger size than its content", sized(asPNG.Bytes(), 4000, 4000), false},
		{"too many bytes", make([]byte, mostPictureBytes+1), false},
	} {
		p, err := ReadPicture(c.body)
		if (err == nil) != c.ok {
			t.Errorf("%s: got %v, want ok %t", c.name, err, c.ok)
		}
		if c.ok && (p.Width != 10 || p.Height != 20 || p.Small.Bounds().Dx() != 10) {
			t.Errorf("%s: got %d x %d", c.name, p.Width, p.Height)
		}
	}
	p, err := ReadPicture(asPNG.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	rows := p.rows(40, 5)
	if len(rows) != 5 || ansi.Strip(rows[0]) != "▀▀▀▀▀" || !strings.Contains(rows[0], "38;2;200;100;50") {
		t.Errorf("rows: got %q, want 5 of 5 cells in its colour", rows)
	}
}

// sized returns a PNG that says to have another size.
func sized(body []byte, width, height uint32) []byte {
	b := bytes.Clone(body)
	header := b[12:29] // IHDR and its fields
	binary.BigEndian.PutUint32(header[4:], width)
	binary.BigEndian.PutUint32(header[8:], height)
	binary.BigEndian.PutUint32(b[29:], crc32.ChecksumIEEE(header))
	return b
}

func TestShrink(t *testing.T) {
	for _, c := range []struct{ w, h, wantW, wantH int }{{10, 10, 10, 10}, {1000, 10, 96, 1}, {10, 100_000, 1, 96}, {500, 500, 96, 96}, {97, 96, 96, 95}} {
		got := shrink(image.NewGray(image.Rect(5, 5, 5+c.w, 5+c.h)), 96, 96).Bounds()
		if got.Dx() != c.wantW || got.Dy() != c.wantH {
			t.Errorf("%d x %d: got %v, want %d x %d", c.w, c.h, got, c.wantW, c.wantH)
		}
	}
}

func TestKeyTables(t *testing.T) {
	for _, table := range []keyTable{everywhere, inList, inThread, inCompose, inResults} {
		met := map[string]bool{}
		for _, l := range table.keys {
			if l.show == "" || l.does == "" || l.action == nothing {
				t.Errorf("%s: %v isn't told of", table.title, l.keys)
			}
			for _, k := range l.keys {
				if met[k] {
					t.Errorf("%s: %s does two things", table.title, k)
				}
				if table.title != everywhere.title && everywhere.find(k) != nothing {
					t.Errorf("%s: %s means something everywhere", table.title, k)
				}
				met[k] = true
			}
		}
	}
}
