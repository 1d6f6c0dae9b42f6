package signer

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/metaim/metaim/improtocol/frame"
)

// A record is one line of the journal.
type record struct {
	Op      string     `json:"op"`
	Tx      txid       `json:"tx"`
	Raw     []byte     `json:"raw,omitempty"` // of build: what to submit again
	Spends  []outpoint `json:"spends,omitempty"`
	Creates []made     `json:"creates,omitempty"`
}

// What a record says happened to its transaction.
const (
	opAdd     = "add"     // shown to us
	opBuild   = "build"   // built here, not yet submitted
	opAccept  = "accept"  // the network took it
	opRelease = "release" // the network refused it
)

// made is an output that pays to a key of ours.
type made struct {
	Vout     uint32  `json:"vout"`
	Satoshis uint64  `json:"satoshis"`
	Key      keyHash `json:"key"`
}

var (
	errRecordOp    = errors.New("unknown op")
	errRecordRaw   = errors.New("the raw transaction isn't the one named")
	errRecordCoins = errors.New("an output of no satoshis, or of more than there are")
)

// check tells whether a record can be folded in: journals are files, and files
// are changed by others.
func (r record) check() error {
	switch r.Op {
	case opAdd, opAccept, opRelease:
	case opBuild:
		if frame.HashOf(r.Raw) != frame.Hash(r.Tx) || CheckRawTransaction(r.Raw) != nil {
			return errRecordRaw
		}
	default:
		return errRecordOp
	}
	for _, m := range r.Creates {
		if m.Satoshis == 0 || m.Satoshis > maxSatoshis {
			return errRecordCoins
		}
	}
	return nil
}

// txid, keyHash and outpoint are written as text.
type (
	txid    frame.Hash
	keyHash frame.KeyHash
)

func (t txid) MarshalText() ([]byte, error) { return []byte(frame.Hash(t).String()), nil }

func (t *txid) UnmarshalText(b []byte) error {
	h, err := frame.ParseHash(string(b))
	*t = txid(h)
	return err
}

func (k keyHash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, k[:]), nil }

func (k *keyHash) UnmarshalText(b []byte) error {
	if len(b) != hex.EncodedLen(len(k)) {
		return errors.New("not a key hash of 40 hexadecimal digits")
	}
	_, err := hex.Decode(k[:], b)
	return err
}

func (o outpoint) String() string {
	return o.tx.String() + ":" + strconv.FormatUint(uint64(o.vout), 10)
}

func (o outpoint) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

func (o *outpoint) UnmarshalText(b []byte) error {
	id, vout, ok := strings.Cut(string(b), ":")
	n, err := strconv.ParseUint(vout, 10, 32)
	if !ok || err != nil {
		return errors.New("not an output such as txid:0")
	}
	if o.tx, err = frame.ParseHash(id); err != nil {
		return fmt.Errorf("output: %w", err)
	}
	o.vout = uint32(n)
	return nil
}
