package frame

// A curveMaths recovers and verifies: the arithmetic of secp256k1, by a library.
// SignatureBackend names the one that is built in. Every one gives the same
// answers to the same bytes, or indexers would disagree: TestCurvesAgree.
//
// It is handed what has the right form. That r and s are in range and that a
// key is on the curve is its to say.
type curveMaths interface {
	// recoverKey returns the key that made a compact signature over the digest,
	// written as the header says, or nil when there is none.
	recoverKey(s Signature, digest [32]byte) []byte
	// verify tells whether the key is on the curve, and whether it made the
	// signature over the digest. High and low s are both right.
	verify(s Signature, digest [32]byte, key []byte) (isKey, signed bool)
}

// recoveryCode is what the header says of the point R: whether y is odd (1), and
// whether x is r + n (2).
func (s Signature) recoveryCode() byte { return (s.header - 27) & 3 }

// compressed tells whether the header wants the key in 33 bytes.
func (s Signature) compressed() bool { return s.header >= compressedHeader }
