package load

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// frame makes a frame as a server sends it, with the first byte of its header.
func frame(head byte, payload string) []byte {
	b := []byte{head}
	switch size := len(payload); {
	case size < 126:
		b = append(b, byte(size))
	case size <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(size))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(size))
	}
	return append(b, payload...)
}

// text makes a message in one frame.
func text(payload string) []byte { return frame(final|opcodeText, payload) }

// walked is what a walker has made of a stream.
type walked struct {
	deliveries int64
	latencies  []time.Duration
	pongs      string
	err        error
}

// walk feeds a stream in pieces of a size, at the time 1000.
func walk(w *walker, stream []byte, size int) (r walked) {
	for piece := range slices.Chunk(stream, size) {
		if r.err = w.feed(piece, 1000, func(l time.Duration) { r.latencies = append(r.latencies, l) }); r.err != nil {
			break
		}
	}
	r.deliveries, r.pongs = w.deliveries, string(w.pongs)
	return r
}

func (r walked) String() string {
	return fmt.Sprintf("%d deliveries, latencies %v, pongs %x, error %v", r.deliveries, r.latencies, r.pongs, r.err)
}

// However a stream is cut into pieces, within headers too, the same is counted.
func TestWalk(t *testing.T) {
	at := func(n int) string { return fmt.Sprintf(`{"t":%d,"p":"x"}`, n) }
	pong := string([]byte{final | opcodePong, masked | 2, 0, 0, 0, 0, 'h', 'i'})
	for _, c := range []struct {
		name   string
		lines  bool
		every  int
		stream [][]byte
		want   walked
	}{
		{"nothing", false, 1, nil, walked{}},
		{"messages of every form of length", false, 1,
			[][]byte{text(""), text("x"), text(strings.Repeat("x", 125)), text(strings.Repeat("x", 126)),
				text(strings.Repeat("x", 0xffff)), text(strings.Repeat("x", 0x10000)), text(at(990))},
			walked{deliveries: 7, latencies: []time.Duration{10}}},
		{"one of two is sampled", false, 2, [][]byte{text(at(1)), text(at(2)), text(at(3)), text(at(4))},
			walked{deliveries: 4, latencies: []time.Duration{999, 997}}},
		{"lines", true, 1, [][]byte{text(at(1) + "\n" + at(2) + "\n" + at(3)), text(at(4))},
			walked{deliveries: 4, latencies: []time.Duration{999, 998, 997, 996}}},
		{"lines aren't looked for", false, 1, [][]byte{text("a\nb"), text("c")}, walked{deliveries: 2}},
		{"a message in three frames, with a ping between", false, 1,
			[][]byte{frame(opcodeText, `{"t`), frame(final|opcodePing, "hi"), frame(0, `":9`), frame(final, `90}`), text(at(998))},
			walked{deliveries: 2, latencies: []time.Duration{10, 2}, pongs: pong}},
		{"an empty last frame", false, 1, [][]byte{frame(opcodeText, at(990)), frame(final, "")},
			walked{deliveries: 1, latencies: []time.Duration{10}}},
		{"a pong, and a binary message", false, 1, [][]byte{frame(final|opcodePong, "x"), frame(final|2, at(999))},
			walked{deliveries: 1, latencies: []time.Duration{1}}},
		{"markers without a number", false, 1, [][]byte{text(`"t":"t":x"t":1234567890123456789,"t":5`)}, walked{deliveries: 1}},
		{"the beginning of a long message is looked at", false, 1,
			[][]byte{frame(opcodeText, at(990)), frame(final, strings.Repeat("x", 2*largestSample)+at(1))},
			walked{deliveries: 1, latencies: []time.Duration{10}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			stream := bytes.Join(c.stream, nil)
			for _, size := range []int{1, 2, 3, 5, 7, 64, max(1, len(stream))} {
				w := &walker{lines: c.lines, marker: []byte(`"t":`), every: c.every}
				if got := walk(w, stream, size); got.String() != c.want.String() {
					t.Errorf("in pieces of %d: got %v, want %v", size, got, c.want)
				}
			}
		})
	}
}

func TestWalkRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		stream []byte
		want   error
	}{
		{"a masked frame", []byte{final | opcodeText, masked | 1, 0, 0, 0, 0, 'x'}, errMasked},
		{"a compressed frame", frame(final|0x40|opcodeText, "x"), errMasked},
		{"a close", frame(final|opcodeClose, "\x03\xe8bye"), errClosed},
		{"a long ping", frame(final|opcodePing, strings.Repeat("x", 126)), errControl},
		{"a ping in pieces", frame(opcodePing, "x"), errControl},
		{"the largest length", []byte{final | opcodeText, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, errTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, size := range []int{1, len(c.stream) + 4} {
				w := &walker{every: 1}
				stream := append(text("good"), c.stream...)
				if got := walk(w, stream, size); !errors.Is(got.err, c.want) || got.deliveries != 1 {
					t.Errorf("in pieces of %d: got %v, want 1 delivery and %v", size, got, c.want)
				}
			}
		})
	}
}

// A stream is counted alike however it is cut in two, and nothing breaks the
// walker.
func FuzzWalk(f *testing.F) {
	f.Add(slices.Concat(text(`{"t":1}`), frame(opcodeText, "a\n"), frame(final|opcodePing, "x"), frame(final, "b")), uint(3), true)
	f.Add([]byte{final | opcodeText, 127, 0, 0, 0, 0, 0, 0, 0, 1, 'x', 0x89, 0}, uint(5), false)
	f.Fuzz(func(t *testing.T, stream []byte, cut uint, lines bool) {
		if len(stream) == 0 {
			return
		}
		one := walk(&walker{lines: lines, marker: []byte(`"t":`), every: 1}, stream, len(stream))
		two := walk(&walker{lines: lines, marker: []byte(`"t":`), every: 1}, stream, 1+int(cut%uint(len(stream))))
		if one.err == nil && one.String() != two.String() || (one.err == nil) != (two.err == nil) {
			t.Errorf("at once: %v; in pieces: %v", one, two)
		}
	})
}

func BenchmarkWalk(b *testing.B) {
	const messages = 800
	stream := bytes.Repeat(text(`{"t":1,"p":"`+strings.Repeat("x", 286)+`"}`), messages)
	for _, c := range []struct {
		name   string
		lines  bool
		marker string
		every  int
	}{{"counted", false, "", 1}, {"lines counted", true, "", 1}, {"one of ten sampled", false, `"t":`, 10}} {
		b.Run(c.name, func(b *testing.B) {
			w := &walker{lines: c.lines, marker: []byte(c.marker), every: c.every}
			b.ReportAllocs()
			for b.Loop() {
				if err := w.feed(stream, 1000, func(time.Duration) {}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/messages, "ns/delivery")
		})
	}
}
