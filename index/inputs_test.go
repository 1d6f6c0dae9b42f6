package index

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/nprotocol"
)

// A transaction may have thousands of inputs and thousands of frames signed in
// DER, for which keys are tried: the inputs' keys are hashed once, not for each
// frame. Hashing allocates, so the allocations tell.
func TestInputsAreHashedOnce(t *testing.T) {
	key := frame.PrivateKey{Scalar: sha256.Sum256([]byte("inputs"))}
	m := &improtocol.Message{Source: frame.Regtest.Address(key.KeyHash()), Type: improtocol.Text, Encryption: improtocol.Plain, Body: []byte("x")}
	m.SetTime(1)
	digest := sha256.Sum256(m.Preimage())
	m.Signature = []byte(hex.EncodeToString(ecdsa.Sign(secp256k1.PrivKeyFromBytes(key.Scalar[:]), digest[:]).Serialize()))
	f := &Frame{Protocol: frame.IM, Message: m, ID: m.FrameID(), ContentID: m.ContentID(), Proofs: []frame.Proof{frame.Prove(m.Preimage(), m.Signature)}}
	judged := func(inputs int) float64 {
		tx := &Transaction{Frames: []*Frame{f}}
		for n := range inputs {
			seed := sha256.Sum256(fmt.Append(nil, n))
			tx.InputKeys = append(tx.InputKeys, append([]byte{2}, seed[:]...))
		}
		tx.InputKeys = append(tx.InputKeys, key.PublicKey())
		facts, rules := NewFacts(), DefaultRules(frame.Regtest)
		if d := rules.Judge(facts, tx, f, nprotocol.Moment{}); d.Verdict != frame.Valid {
			t.Fatalf("with %d inputs: got %s, want valid", inputs, d.Verdict)
		}
		return testing.AllocsPerRun(20, func() { rules.Judge(facts, tx, f, nprotocol.Moment{}) })
	}
	few, many := judged(1), judged(5_000)
	if many > few+100 {
		t.Errorf("a further frame of a transaction of 5,000 inputs takes %v allocations, of 1 input %v", many, few)
	}
}
