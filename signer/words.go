package signer

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/libsv/go-bk/bip39"
	"golang.org/x/text/unicode/norm"

	"github.com/metaim/metaim/improtocol/frame"
)

// Reasons why words are no BIP 39 mnemonic.
var (
	ErrWordCount    = errors.New("a list of words for a key has 12, 15, 18, 21 or 24 words")
	ErrWord         = errors.New("not in the English list of BIP 39")
	ErrWordChecksum = errors.New("wrong checksum: a word is mistyped or out of place")
)

const wordBits = 11

// wordIndex maps each word of the list to its place. go-bk's list is a variable
// that anyone may change, so it is read once.
var wordIndex = sync.OnceValue(func() map[string]int {
	index := make(map[string]int, len(bip39.English))
	for i, w := range bip39.English {
		index[w] = i
	}
	return index
})

// NewWords makes a random BIP 39 mnemonic of 12, 15, 18, 21 or 24 words.
func NewWords(n int) (string, error) {
	if !wordCount(n) {
		return "", ErrWordCount
	}
	entropy := make([]byte, n/3*4)
	rand.Read(entropy) // never fails: the program ends first
	words, _, err := bip39.Mnemonic(entropy, "")
	if err != nil {
		return "", fmt.Errorf("make words: %w", err)
	}
	return words, nil
}

func wordCount(n int) bool { return n >= 12 && n <= 24 && n%3 == 0 }

const longestWords = 1024 // bytes; 24 words of 8 letters take 216

// NormalWords checks a mnemonic and returns it as BIP 39 hashes it: lower case,
// single spaces. It fails with ErrWordCount, ErrWord (which word, by its place)
// or ErrWordChecksum.
func NormalWords(text string) (string, error) {
	if len(text) > longestWords {
		return "", ErrWordCount
	}
	words := strings.Fields(strings.ToLower(text))
	if !wordCount(len(words)) {
		return "", fmt.Errorf("%w, not %d", ErrWordCount, len(words))
	}
	bits := make([]byte, (len(words)*wordBits+7)/8)
	for i, w := range words {
		at, ok := wordIndex()[w]
		if !ok {
			return "", fmt.Errorf("word %d is %w", i+1, ErrWord)
		}
		setBits(bits, i*wordBits, at)
	}
	entropy := len(words) / 3 * 4 // bytes; the checksum has a bit for each 4
	sum := sha256.Sum256(bits[:entropy])
	if mask := byte(0xff) << (8 - len(words)/3); bits[entropy]&mask != sum[0]&mask {
		return "", ErrWordChecksum
	}
	return strings.Join(words, " "), nil
}

// setBits writes an 11-bit number, most significant bit first.
func setBits(bits []byte, at, value int) {
	for i := range wordBits {
		if value&(1<<(wordBits-1-i)) != 0 {
			bits[(at+i)/8] |= 0x80 >> ((at + i) % 8)
		}
	}
}

// KeyFromWords derives a key from a BIP 39 mnemonic, its optional passphrase
// and a path such as [DefaultPath].
func KeyFromWords(words, passphrase, path string, n frame.Network) (Key, error) {
	steps, err := ParsePath(path)
	if err != nil {
		return Key{}, err
	}
	// Checked here because go-bk panics on a word after "zoo", ignores a wrong
	// checksum and hashes surplus spaces.
	words, err = NormalWords(words)
	if err != nil {
		return Key{}, err
	}
	seed, err := bip39.MnemonicToSeed(words, norm.NFKD.String(passphrase))
	if err != nil {
		return Key{}, errors.New("the words give no seed")
	}
	defer clear(seed)
	return keyFromSeed(seed, steps, n)
}

// looksLikeWords tells whether a trimmed text is meant as a mnemonic.
func looksLikeWords(text string) bool { return strings.ContainsAny(text, " \t\r\n") }
