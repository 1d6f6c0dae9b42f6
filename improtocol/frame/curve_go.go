//go:build !libsecp256k1

package frame

import (
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	voi "gitlab.com/yawning/secp256k1-voi"
)

// SignatureBackend names the library that recovers keys and verifies signatures
// in this build. The build tag libsecp256k1 chooses the other one.
const SignatureBackend = "secp256k1-voi"

var curve curveMaths = goCurve{}

// goCurve needs no C: points by secp256k1-voi, numbers modulo n by decred, whose
// inversion is the faster one. docs/decisions/0003-signature-arithmetic.md.
type goCurve struct{}

// recoverKey is SEC 1, section 4.1.6: Q = (s/r)R - (e/r)G.
func (goCurve) recoverKey(sig Signature, digest [32]byte) []byte {
	r, s, ok := sig.scalars()
	if !ok {
		return nil
	}
	R, err := voi.RecoverPoint(point(r), sig.recoveryCode())
	if err != nil {
		return nil // no point has this x
	}
	var e, w, u1, u2 secp256k1.ModNScalar
	e.SetBytes(&digest)
	w.InverseValNonConst(r)
	u1.Mul2(&e, &w).Negate()
	u2.Mul2(s, &w)
	Q := voi.NewIdentityPoint().DoubleScalarMultBasepointVartime(point(&u1), point(&u2), R)
	switch {
	case Q.IsIdentity() == 1:
		return nil
	case sig.compressed():
		return Q.CompressedBytes()
	}
	return Q.UncompressedBytes()
}

// verify is SEC 1, section 4.1.4: the x of (e/s)G + (r/s)Q is r modulo n.
func (goCurve) verify(sig Signature, digest [32]byte, key []byte) (isKey, signed bool) {
	Q, err := voi.NewPointFromBytes(key)
	if err != nil {
		return false, false
	}
	r, s, ok := sig.scalars()
	if !ok {
		return true, false
	}
	var e, w, u1, u2, x secp256k1.ModNScalar
	e.SetBytes(&digest)
	w.InverseValNonConst(s)
	u1.Mul2(&e, &w)
	u2.Mul2(r, &w)
	R := voi.NewIdentityPoint().DoubleScalarMultBasepointVartime(point(&u1), point(&u2), Q)
	b, err := R.XBytes()
	if err != nil {
		return true, false // R is the point at infinity
	}
	x.SetByteSlice(b)
	return true, x.Equals(r)
}

// scalars returns r and s; ok tells whether both are in 1 to n-1.
func (s *Signature) scalars() (r, t *secp256k1.ModNScalar, ok bool) {
	r, t = new(secp256k1.ModNScalar), new(secp256k1.ModNScalar)
	over := r.SetBytes(&s.r) | t.SetBytes(&s.s)
	return r, t, over == 0 && !r.IsZero() && !t.IsZero()
}

// point hands a number to voi.
func point(n *secp256k1.ModNScalar) *voi.Scalar {
	b := n.Bytes()
	s, _ := voi.NewScalarFromBytes(&b) // it is below n already
	return s
}
