//go:build libsecp256k1

package frame

/*
#cgo pkg-config: libsecp256k1
#cgo noescape metaim_recover
#cgo nocallback metaim_recover
#cgo noescape metaim_verify
#cgo nocallback metaim_verify
#include <secp256k1.h>
#include <secp256k1_recovery.h>

// metaim_recover writes the key that made the signature rs (r, s) over the
// digest, in 33 or 65 bytes. It returns how many, 0 when there is no key.
static size_t metaim_recover(const secp256k1_context *ctx, unsigned char *key, const unsigned char *rs,
		int code, int compressed, const unsigned char *digest) {
	secp256k1_ecdsa_recoverable_signature sig;
	secp256k1_pubkey pub;
	size_t size = 65;
	if (!secp256k1_ecdsa_recoverable_signature_parse_compact(ctx, &sig, rs, code) ||
			!secp256k1_ecdsa_recover(ctx, &pub, &sig, digest) ||
			!secp256k1_ec_pubkey_serialize(ctx, key, &size, &pub,
				compressed ? SECP256K1_EC_COMPRESSED : SECP256K1_EC_UNCOMPRESSED)) {
		return 0;
	}
	return size;
}

// metaim_verify returns 0 when the key is none, 1 when it didn't make the
// signature, 2 when it did. The library takes low s only; ours is either.
static int metaim_verify(const secp256k1_context *ctx, const unsigned char *rs, const unsigned char *digest,
		const unsigned char *key, size_t size) {
	secp256k1_ecdsa_signature sig;
	secp256k1_pubkey pub;
	if (!secp256k1_ec_pubkey_parse(ctx, &pub, key, size)) {
		return 0;
	}
	if (!secp256k1_ecdsa_signature_parse_compact(ctx, &sig, rs)) {
		return 1;
	}
	secp256k1_ecdsa_signature_normalize(ctx, &sig, &sig);
	return 1 + secp256k1_ecdsa_verify(ctx, &sig, digest, &pub);
}
*/
import "C"

import "bytes"

// SignatureBackend names the library that recovers keys and verifies signatures
// in this build. Without the build tag libsecp256k1 it is one in Go.
const SignatureBackend = "libsecp256k1"

var curve curveMaths = cCurve{}

// cCurve is Bitcoin Core's library, through cgo.
type cCurve struct{}

// libContext is made once and only read from then on: any number of threads may
// use it. Making it runs the library's self-test.
var libContext = C.secp256k1_context_create(C.SECP256K1_CONTEXT_NONE)

func (cCurve) recoverKey(s Signature, digest [32]byte) []byte {
	var key [65]byte
	rs := s.bytes()
	compressed := C.int(0)
	if s.compressed() {
		compressed = 1
	}
	n := C.metaim_recover(libContext, (*C.uchar)(&key[0]), (*C.uchar)(&rs[0]), C.int(s.recoveryCode()), compressed,
		(*C.uchar)(&digest[0]))
	if n == 0 {
		return nil
	}
	return bytes.Clone(key[:n])
}

func (cCurve) verify(s Signature, digest [32]byte, key []byte) (isKey, signed bool) {
	rs := s.bytes()
	said := C.metaim_verify(libContext, (*C.uchar)(&rs[0]), (*C.uchar)(&digest[0]), (*C.uchar)(&key[0]), C.size_t(len(key)))
	return said >= 1, said == 2
}

// bytes returns r and s, one behind the other.
func (s *Signature) bytes() (rs [64]byte) {
	copy(rs[:32], s.r[:])
	copy(rs[32:], s.s[:])
	return rs
}
