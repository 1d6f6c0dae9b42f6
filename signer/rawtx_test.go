package signer

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/libsv/go-bt/v2"

	"github.com/metaim/metaim/improtocol/frame"
)

func hexOf(b []byte) string { return hex.EncodeToString(b) }
func itoa(n int) string     { return strconv.Itoa(n) }

// rawHex writes a transaction with one input and one output in hex, from the
// varints and scripts given.
func rawHex(inputs, scriptLength, outputs string) string {
	return "01000000" + inputs + strings.Repeat("11", 32) + "00000000" + scriptLength + "ffffffff" + outputs
}

const goodOutputs = "01" + "0100000000000000" + "00" + "00000000"

func TestCheckRawTransaction(t *testing.T) {
	tests := []struct {
		name string
		raw  string
		want error
	}{
		{"smallest", rawHex("01", "00", goodOutputs), nil},
		{"nothing", "", ErrTruncated},
		{"a version", "01000000", ErrTruncated},
		{"no inputs", "01000000" + "00" + "01" + "0000000000000000" + "00" + "00000000", ErrNoInputs},
		{"extended format", "01000000" + "0000000000ef" + "01", ErrNoInputs},
		{"no outputs", rawHex("01", "00", "00"+"00000000"), ErrNoOutputs},
		{"a byte behind", rawHex("01", "00", goodOutputs) + "00", ErrTrailing},
		{"a byte short", rawHex("01", "00", goodOutputs[:len(goodOutputs)-2]), ErrTruncated},
		{"input count in three bytes", rawHex("fd0100", "00", goodOutputs), ErrVarInt},
		{"script length in nine bytes", rawHex("01", "ff0000000000000000", goodOutputs), ErrVarInt},
		{"output count in five bytes", rawHex("01", "00", "fe01000000"+goodOutputs[2:]), ErrVarInt},
		{"huge input count", rawHex("ffffffffffffffffff", "00", goodOutputs), ErrTruncated},
		{"huge script", rawHex("01", "ffffffffffffffffff", goodOutputs), ErrTruncated},
		{"script of 4 GB", rawHex("01", "feffffffff", goodOutputs), ErrTruncated},
		{"script of 2^63", rawHex("01", "ff0000000000000080", goodOutputs), ErrTruncated},
		{"huge output count", rawHex("01", "00", "ffffffffffffffffff"+goodOutputs[2:]), ErrTruncated},
		{"more money than there is", rawHex("01", "00", "01"+"0140075af0750700"+"00"+"00000000"), ErrOutputSums},
		{"sums that run over", rawHex("01", "00", "02"+"ffffffffffffffff"+"00"+"ffffffffffffffff"+"00"+"00000000"), ErrOutputSums},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := CheckRawTransaction(unhex(t, tt.raw))
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if where := (*TransactionError)(nil); err != nil && !errors.As(err, &where) {
				t.Errorf("got %T, want a *TransactionError", err)
			}
		})
	}
}

// FuzzCheckRawTransaction: whatever passes the check go-bt reads without
// panicking and writes as the same bytes, so that its id is that of the bytes.
func FuzzCheckRawTransaction(f *testing.F) {
	for _, s := range []string{rawHex("01", "00", goodOutputs), rawHex("01", "0151", goodOutputs), rawHex("fd0100", "00", goodOutputs),
		rawHex("01", "feffffffff", goodOutputs), "01000000" + "0000000000ef" + "01", rawHex("01", "00", "ffffffffffffffffff")} {
		b, err := hex.DecodeString(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if CheckRawTransaction(raw) != nil {
			return
		}
		tx, err := bt.NewTxFromBytes(raw)
		if err != nil {
			t.Fatalf("go-bt refuses what passed: %v", err)
		}
		if got := tx.Bytes(); !bytes.Equal(got, raw) {
			t.Fatalf("go-bt writes %x, want %x", got, raw)
		}
		if got, want := tx.TxID(), frame.HashOf(raw).String(); got != want {
			t.Fatalf("go-bt's id is %s, want %s", got, want)
		}
	})
}
