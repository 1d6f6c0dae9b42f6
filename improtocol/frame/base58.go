package frame

import "crypto/sha256"

// An address is shown and read for every message, so its 25 bytes have a Base58
// of their own: five digits at a time in integers, where the general one takes
// thirty times as long. TestBase58 compares the two.

const (
	base58Digits  = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	fiveDigits    = 58 * 58 * 58 * 58 * 58
	checkedBytes  = addressBytes + 4
	longestBase58 = 35 // characters that 25 bytes can take
)

// base58Values has the value of a digit, and 0xff for what is none.
var base58Values = func() (values [256]byte) {
	for i := range values {
		values[i] = 0xff
	}
	for i := range len(base58Digits) {
		values[base58Digits[i]] = byte(i)
	}
	return values
}()

// encodeBase58 writes 25 bytes; each zero byte at the beginning is a "1".
func encodeBase58(b *[checkedBytes]byte) string {
	var groups [longestBase58 / 5]uint64 // of five digits, the least first
	for i := 0; i < checkedBytes; {
		size := min(3, checkedBytes-i) // 2^24 times a group fits
		carry, shift := uint64(0), uint(8*size)
		for ; size > 0; size-- {
			carry = carry<<8 | uint64(b[i])
			i++
		}
		for j := range groups {
			carry += groups[j] << shift
			groups[j], carry = carry%fiveDigits, carry/fiveDigits
		}
	}
	var digits [longestBase58]byte
	for j, group := range groups {
		for k := range 5 {
			digits[longestBase58-1-5*j-k] = base58Digits[group%58]
			group /= 58
		}
	}
	start := 0
	for start < longestBase58 && digits[start] == '1' {
		start++
	}
	for i := 0; i < checkedBytes && b[i] == 0; i++ {
		start-- // the digits are as many as the most that 25 bytes take, so there is room
	}
	return string(digits[start:])
}

// decodeBase58 reads what encodeBase58 writes, and nothing else.
func decodeBase58(s string) (b [checkedBytes]byte, ok bool) {
	if len(s) < checkedBytes || len(s) > longestBase58 {
		return b, false
	}
	var words [checkedBytes/4 + 1]uint32 // the least first
	for i := 0; i < len(s); {
		carry, scale := uint64(0), uint64(1)
		for n := min(5, len(s)-i); n > 0; n-- {
			v := base58Values[s[i]]
			if v == 0xff {
				return b, false
			}
			carry, scale = carry*58+uint64(v), scale*58
			i++
		}
		for j := range words {
			carry += uint64(words[j]) * scale
			words[j], carry = uint32(carry), carry>>32
		}
		if carry != 0 {
			return b, false
		}
	}
	if words[len(words)-1] > 0xff {
		return b, false // more than 25 bytes
	}
	zeros := 0
	for zeros < len(s) && s[zeros] == '1' {
		zeros++
	}
	for i := range b {
		at := checkedBytes - 1 - i // from the least
		b[i] = byte(words[at/4] >> (8 * (at % 4)))
	}
	leading := 0
	for leading < checkedBytes && b[leading] == 0 {
		leading++
	}
	return b, leading == zeros
}

// EncodeAddress writes a key hash as the address with a version byte.
func EncodeAddress(version byte, h KeyHash) string {
	var b [checkedBytes]byte
	b[0] = version
	copy(b[1:], h[:])
	sum := checksum(&b)
	copy(b[addressBytes:], sum[:])
	return encodeBase58(&b)
}

// DecodeAddress reads an address of any network. ok is false for every other
// text.
func DecodeAddress(s string) (version byte, h KeyHash, ok bool) {
	version, h, err := decodeAddress(s)
	return version, h, err == nil
}

func checksum(b *[checkedBytes]byte) [4]byte {
	first := sha256.Sum256(b[:addressBytes])
	sum := sha256.Sum256(first[:])
	return [4]byte(sum[:4])
}
