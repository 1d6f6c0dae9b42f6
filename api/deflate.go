package api

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/gorilla/websocket"
	"github.com/klauspost/compress/flate"
)

// Compression is permessage-deflate (RFC 7692) without context takeover: no
// message needs another to be read. So an event is deflated once for all who are
// told of it, whatever the id of their subscription: that stands before it in a
// stored block of its own.

// Events are deflated whose JSON is longer than deflateAbove bytes: below, little
// is won. Those longer than deflateUpto aren't, because everyone would wait for
// it.
const (
	deflateAbove = 512
	deflateUpto  = 1 << 20
)

// deflateAnswer is what is agreed on when a client offers compression.
const deflateAnswer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

// deflateOffered tells whether a client offers compression in a way that can be
// taken: one that bounds our window can't be, because the window is as it is
// (RFC 7692, section 7.1).
func deflateOffered(h http.Header) bool {
	for _, line := range h.Values("Sec-Websocket-Extensions") {
		for offer := range strings.SplitSeq(line, ",") {
			if takesOffer(offer) {
				return true
			}
		}
	}
	return false
}

func takesOffer(offer string) bool {
	name, rest, _ := strings.Cut(offer, ";")
	if !strings.EqualFold(strings.TrimSpace(name), "permessage-deflate") {
		return false
	}
	var known []string
	for rest != "" {
		var parameter string
		parameter, rest, _ = strings.Cut(rest, ";")
		name, value, given := strings.Cut(parameter, "=")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.Trim(strings.TrimSpace(value), `"`)
		if slices.Contains(known, name) {
			return false
		}
		known = append(known, name)
		switch name {
		case "server_no_context_takeover", "client_no_context_takeover":
			if given {
				return false
			}
		case "client_max_window_bits":
			if given && !slices.Contains([]string{"8", "9", "10", "11", "12", "13", "14", "15"}, value) {
				return false
			}
		default: // server_max_window_bits too
			return false
		}
	}
	return true
}

// A deflater compresses one text after another.
type deflater struct {
	out bytes.Buffer
	to  *flate.Writer
}

var deflaters = sync.Pool{New: func() any {
	d := &deflater{}
	d.to, _ = flate.NewWriter(&d.out, flate.BestSpeed) // the level is a valid one
	return d
}}

// deflateTail is what ends a flushed piece of DEFLATE; a message leaves it out.
const deflateTail = "\x00\x00\xff\xff"

// deflate compresses what stands in a frame after the subscription's head. nil:
// it is better sent as it is.
func deflate(text []byte) []byte {
	if len(text) <= deflateAbove || len(text) > deflateUpto {
		return nil
	}
	d := deflaters.Get().(*deflater) //nolint:errcheck // the pool holds nothing else
	defer deflaters.Put(d)
	d.out.Reset()
	d.to.Reset(&d.out)
	_, err := d.to.Write(text)
	if err = errors.Join(err, d.to.Flush()); err != nil {
		return nil // a buffer takes all there is
	}
	out, ends := bytes.CutSuffix(d.out.Bytes(), []byte(deflateTail))
	if !ends || len(out) >= len(text) {
		return nil
	}
	return bytes.Clone(out)
}

// storedBytes is what a stored block has before its text (RFC 1951, 3.2.4).
const storedBytes = 5

// appendPacked appends a frame whose payload is a head, stored, and what deflate
// returned.
func appendPacked(dst, head, packed []byte) []byte {
	size := uint16(len(head)) // of an id of 64 bytes, 400 at most
	var block [storedBytes]byte
	binary.LittleEndian.PutUint16(block[1:], size)
	binary.LittleEndian.PutUint16(block[3:], ^size)
	return appendFrame(dst, rsv1|websocket.TextMessage, block[:], head, packed)
}

// An inflater decompresses one message after another.
type inflater struct {
	in   bytes.Reader
	tail strings.Reader
	from io.ReadCloser
}

var inflaters = sync.Pool{New: func() any { return &inflater{from: flate.NewReader(bytes.NewReader(nil))} }}

// inflate decompresses a message to so many bytes at most: more is never kept,
// whatever the message would grow to.
func inflate(data []byte, most int64) ([]byte, error) {
	i := inflaters.Get().(*inflater) //nolint:errcheck // the pool holds nothing else
	defer inflaters.Put(i)
	defer i.in.Reset(nil)
	i.in.Reset(data)
	i.tail.Reset(deflateTail + "\x01\x00\x00\xff\xff")                                         // and a last block, so that it ends
	if err := i.from.(flate.Resetter).Reset(io.MultiReader(&i.in, &i.tail), nil); err != nil { //nolint:errcheck // flate promises it
		return nil, err
	}
	out, err := io.ReadAll(io.LimitReader(i.from, most+1))
	switch {
	case int64(len(out)) > most:
		return nil, tooLarge(most)
	case err != nil:
		return nil, &violation{websocket.CloseInvalidFramePayloadData, "the message is deflated wrongly"}
	}
	return out, nil
}

// unpack returns what a message says, inflated if it was deflated. Text that
// isn't UTF-8 is refused.
func (e *ear) unpack(h heard) ([]byte, error) {
	if !h.packed {
		return h.data, nil
	}
	if err := e.hold(e.most, e.most); err != nil {
		return nil, err
	}
	data, err := inflate(h.data, e.most)
	if err == nil && h.opcode == websocket.TextMessage && !utf8.Valid(data) {
		err = errNotUTF8
	}
	return data, err
}
