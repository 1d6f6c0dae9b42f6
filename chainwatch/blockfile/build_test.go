package blockfile

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
)

var regtest = chainwatch.ParamsOf(frame.Regtest)

const vectors = "../testdata/chain"

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// write puts files into a folder of their own, and returns their paths.
func write(t testing.TB, files ...[]byte) []string {
	t.Helper()
	dir := t.TempDir()
	var paths []string
	for i, b := range files {
		path := filepath.Join(dir, "blk0000"+string(rune('0'+i))+".dat")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

// split takes the records of a file apart, by hand.
func split(b []byte) (blocks [][]byte) {
	for len(b) >= 8 {
		n := binary.LittleEndian.Uint32(b[4:])
		blocks = append(blocks, b[8:8+n])
		b = b[8+n:]
	}
	return blocks
}

func framed(blocks ...[]byte) (b []byte) {
	for _, raw := range blocks {
		b = append(b, record(regtest.Magic, raw)...)
	}
	return b
}

func record(magic uint32, raw []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, magic)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(raw)))
	return append(b, raw...)
}

// compress makes one zstd frame of each part.
func compress(t testing.TB, parts ...[]byte) []byte {
	t.Helper()
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	var b []byte
	for _, p := range parts {
		b = enc.EncodeAll(p, b)
	}
	return b
}

// streamed makes one frame as a pipe would: without the length of the content.
func streamed(t testing.TB, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	enc, err := zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	for len(content) > 0 {
		n := min(len(content), 10000)
		if _, err := enc.Write(content[:n]); err != nil {
			t.Fatal(err)
		}
		if err := enc.Flush(); err != nil {
			t.Fatal(err)
		}
		content = content[n:]
	}
	if err := enc.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// transaction has one input and one output with a script.
func transaction(tag uint32, script []byte) []byte {
	b := append([]byte{1, 0, 0, 0, 1}, make([]byte, 32)...)
	b = append(b, 0xff, 0xff, 0xff, 0xff, 4)
	b = binary.LittleEndian.AppendUint32(b, tag)
	b = append(b, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0xfe)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(script)))
	b = append(b, script...)
	return append(b, 0, 0, 0, 0)
}

// mine makes a block of one transaction on regtest. A tag tells siblings apart.
func mine(prev frame.Hash, tag uint32, script []byte) []byte {
	tx := transaction(tag, script)
	h := header(prev, frame.HashOf(tx), regtest, true)
	return append(append(h[:], 1), tx...)
}

// header seeks a nonce that has, or hasn't, the proof of work.
func header(prev, root frame.Hash, params *chainwatch.Params, good bool) (h chainwatch.Header) {
	h[3] = 0x20 // as today's miners write it: the first bytes are zeros
	copy(h[4:], prev[:])
	copy(h[36:], root[:])
	binary.LittleEndian.PutUint32(h[68:], 1500000000)
	binary.LittleEndian.PutUint32(h[72:], 0x207fffff)
	for n := uint32(0); (params.CheckWork(&h) == nil) != good; n++ {
		binary.LittleEndian.PutUint32(h[76:], n)
	}
	return h
}

// line mines n blocks one after another.
func line(prev frame.Hash, tag uint32, n int) (blocks [][]byte) {
	for range n {
		b := mine(prev, tag, nil)
		blocks = append(blocks, b)
		prev = hashOf(b)
	}
	return blocks
}

func hashOf(raw []byte) frame.Hash { return frame.HashOf(raw[:chainwatch.HeaderSize]) }

type meta struct {
	Base, Reorg struct {
		Tip    string
		Height int32
		Frames int
	}
}

func readMeta(t testing.TB) (m meta) {
	t.Helper()
	if err := json.Unmarshal(readFile(t, filepath.Join(vectors, "meta.json")), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func open(t testing.TB, paths ...string) *Source {
	t.Helper()
	s, err := Open(t.Context(), paths, regtest, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// tip follows the headers to their end.
func tip(t testing.TB, s *Source) (frame.Hash, int32) {
	t.Helper()
	at, height := regtest.Genesis.Hash(), int32(0)
	for {
		list, err := s.Headers(t.Context(), []frame.Hash{at})
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			return at, height
		}
		for _, h := range list {
			if h.Prev() != at {
				t.Fatalf("header %d doesn't follow the one before", height+1)
			}
			at, height = h.Hash(), height+1
		}
	}
}
