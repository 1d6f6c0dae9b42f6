package proof

// The first four bytes of a BEEF of version 1 (BRC-62).
var beefVersion = []byte{0x01, 0x00, 0xbe, 0xef}

// AppendBEEF appends a transaction with its Merkle path in the form of BRC-62:
// one path, one transaction, which is proved by it.
func AppendBEEF(b, raw, bump []byte) []byte {
	b = append(b, beefVersion...)
	b = append(append(b, 1), bump...)
	b = append(append(b, 1), raw...)
	return append(b, 1, 0) // proved by the path of number 0
}
