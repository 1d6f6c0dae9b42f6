package simulate

import (
	"bytes"
	"slices"
	"sync"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
)

// signatures judges the signatures in their order: the first that doesn't hold
// decides.
func (h history) signatures(j *judged) frame.Verdict {
	fields, signers := [][]byte(nil), []frame.KeyHash{*j.address}
	if j.frame.message != nil {
		fields = [][]byte{j.frame.message.Signature}
	} else {
		fields = j.frame.record.Signatures
	}
	if len(fields) == 2 {
		signers = append(signers, j.frame.record.NewAddress)
	}
	var keys [][]byte
	for i, signer := range signers {
		key, v := h.signature(j, fields[i], signer)
		if v != frame.Valid {
			return v
		}
		keys = append(keys, key)
	}
	j.keys = keys
	return frame.Valid
}

func (h history) signature(j *judged, field []byte, signer frame.KeyHash) ([]byte, frame.Verdict) {
	s, err := frame.ParseSignature(field)
	if err != nil {
		return nil, frame.BadSignature
	}
	if s.Recoverable() {
		key := recoverKey(s, j.frame.preimage(), field)
		if key == nil || frame.HashKey(key) != signer {
			return nil, frame.BadSignature
		}
		return key, frame.Valid
	}
	for _, key := range h.candidates(j, signer) {
		if frame.HashKey(key) == signer {
			if verify(s, j.frame.preimage(), field, key) {
				return key, frame.Valid
			}
			return nil, frame.BadSignature
		}
	}
	return nil, frame.PublicKeyUnknown
}

// candidates are the public keys that a DER signature may be of.
func (h history) candidates(j *judged, signer frame.KeyHash) [][]byte {
	list := slices.Clone(j.tx.keys)
	other := ""
	if j.frame.message != nil {
		other = j.frame.message.Other
	} else {
		other = j.frame.record.Other
	}
	if key, ok := improtocol.PublicKey(other); ok {
		list = append(list, key)
	}
	for _, e := range h {
		if e.verdict != frame.Valid {
			continue
		}
		of := []frame.KeyHash{*e.address}
		if len(e.keys) == 2 {
			of = append(of, e.frame.record.NewAddress)
		}
		for i, address := range of {
			if address == signer {
				list = append(list, e.keys[i])
			}
		}
	}
	return list
}

// The curve is slow, and the same frames come again and again.
var recovered, verified sync.Map

func recoverKey(s frame.Signature, preimage, field []byte) []byte {
	memo := string(field) + string(preimage)
	if key, ok := recovered.Load(memo); ok {
		return key.([]byte)
	}
	key, err := s.Recover(preimage)
	if err != nil {
		key = nil
	}
	recovered.Store(memo, key)
	return key
}

func verify(s frame.Signature, preimage, field, key []byte) bool {
	memo := string(bytes.Join([][]byte{key, field, preimage}, nil))
	if ok, there := verified.Load(memo); there {
		return ok.(bool)
	}
	ok := s.Verify(preimage, key)
	verified.Store(memo, ok)
	return ok
}
