package improtocol_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
)

// FuzzParseOther: reading never panics; a list that is read has a key in every
// pair, is UTF-8, and is written and read again as the same list.
func FuzzParseOther(f *testing.F) {
	for _, v := range readVectors(f).Frames {
		f.Add(v.Other)
	}
	for _, s := range []string{"", "a=b&c=%5b%5D", "to=1a,1b&re=00&part=1/3", "&&==", "%", "a=%ff", "a=b&a=c", "+=+", "a=%00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list, ok := improtocol.ParseOther(s)
		if !ok {
			if list != nil {
				t.Fatalf("%q is no list and has %q", s, list)
			}
			return
		}
		for _, p := range list {
			if p.Key == "" || utf8.ValidString(s) && !(utf8.ValidString(p.Key) && utf8.ValidString(p.Value)) {
				t.Fatalf("%q has the pair %q", s, p)
			}
		}
		again, ok := improtocol.ParseOther(list.String())
		if !ok || !slices.Equal(again, list) {
			t.Fatalf("%q is read as %q, written as %q and read as %q", s, list, list.String(), again)
		}
	})
}

// FuzzDecryptECC: decrypting never panics; what it decrypts it authenticates: it
// fails for another key, and when a byte is changed.
func FuzzDecryptECC(f *testing.F) {
	all := readVectors(f)
	key := fromWIF(f, all.ECIES[0].PrivateKey)
	for _, v := range all.ECIES {
		f.Add([]byte(v.CipherBase64))
	}
	for _, s := range []string{"", "QklFMQ==", "QklF\nMQ==", "AAAA"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)
		plain, err := improtocol.DecryptECC(body, key)
		if !bytes.Equal(body, before) {
			t.Fatal("the field was changed")
		}
		if err != nil {
			if !errors.Is(err, improtocol.ErrCiphertext) || plain != nil {
				t.Fatalf("got %q with error %v", plain, err)
			}
			return
		}
		if got, err := improtocol.DecryptECC(body, alice); err == nil {
			t.Fatalf("another key decrypts it to %q", got)
		}
		raw, err := base64.StdEncoding.DecodeString(string(body))
		if err != nil {
			t.Fatal(err)
		}
		raw[len(raw)/2] ^= 1
		if got, err := improtocol.DecryptECC([]byte(base64.StdEncoding.EncodeToString(raw)), key); err == nil {
			t.Fatalf("changed, it decrypts to %q", got)
		}
	})
}

// FuzzParse: reading a script as a message never panics; one that is read has
// the ids of its frame, and is written and read again as the same message.
func FuzzParse(f *testing.F) {
	for _, v := range readVectors(f).Frames {
		f.Add(unhex(f, v.Script))
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		m, err := improtocol.Parse(script)
		var refused *frame.ParseError
		if err != nil {
			if !errors.Is(err, improtocol.ErrNotIM) && !errors.As(err, &refused) {
				t.Fatalf("error %T", err)
			}
			return
		}
		read, err := frame.Read(script)
		if err != nil || frame.IDOf(read.Preimage()) != m.FrameID() {
			t.Fatalf("frame id %s isn't that of the frame, %v", m.FrameID(), err)
		}
		if _, err := m.Time(); err != nil {
			return
		}
		again, err := m.AppendScript(nil, frame.Pushes)
		if err != nil {
			t.Fatal(err)
		}
		back, err := improtocol.Parse(again)
		if err != nil || back.FrameID() != m.FrameID() || back.ContentID() != m.ContentID() || !bytes.Equal(back.Signature, m.Signature) {
			t.Fatalf("got %+v %v, want %+v", back, err, m)
		}
	})
}
