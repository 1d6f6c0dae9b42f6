package signer

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/libsv/go-bk/bec"
	"github.com/libsv/go-bk/bip32"
	"github.com/libsv/go-bk/bip39"
	"github.com/libsv/go-bk/wif"
	"github.com/libsv/go-bt/v2"
	"github.com/libsv/go-bt/v2/bscript"
	libunlocker "github.com/libsv/go-bt/v2/unlocker"

	"github.com/metaim/metaim/improtocol/frame"
)

// Each test here shows a fault of a library, and beside it that we don't have
// it. When "the library" fails, the fault was mended: the guard may then go.

// panics tells what a function panicked with, nil if it didn't.
func panics(f func()) (value any) {
	defer func() { value = recover() }()
	f()
	return nil
}

func TestGuardAddressChecksum(t *testing.T) {
	const mistyped = "1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMJ"
	if _, err := bscript.NewP2PKHFromAddress(mistyped); err != nil {
		t.Errorf("the library: got %v, want it to pay to a mistyped address", err)
	}
	if _, err := frame.Main.ParseAddress(mistyped); !errors.Is(err, frame.ErrChecksum) {
		t.Errorf("the guard: got %v, want %v", err, frame.ErrChecksum)
	}
}

func TestGuardHugeLengths(t *testing.T) {
	raw := unhex(t, rawHex("01", "ffffffffffffffffff", goodOutputs))
	if panics(func() { bt.NewTxFromBytes(raw) }) == nil {
		t.Errorf("the library: no panic")
	}
	if _, err := ParseTransaction(raw); !errors.Is(err, ErrTruncated) {
		t.Errorf("the guard: got %v, want %v", err, ErrTruncated)
	}
	// It allocates what a length says before it reads.
	raw = unhex(t, rawHex("01", "fe00000004", goodOutputs))
	if n := allocated(func() { bt.NewTxFromBytes(raw) }); n < 64<<20 {
		t.Errorf("the library: %d bytes allocated, want 64 MB", n)
	}
	if n := allocated(func() { CheckRawTransaction(raw) }); n > 1<<20 {
		t.Errorf("the guard: %d bytes allocated", n)
	}
}

// allocated returns the bytes that were allocated while f ran.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestGuardScriptType(t *testing.T) {
	script := unhex(t, "6a4c00")
	if panics(func() { bscript.NewFromBytes(script).ScriptType() }) == nil {
		t.Errorf("the library: no panic")
	}
	if _, ok := frame.PayToPublicKeyHash(script); ok {
		t.Errorf("the guard: took it for P2PKH")
	}
	k := testKey(t, 1, false)
	w := newWallet(t, Options{Keys: []Key{k}})
	raw := unhex(t, rawHex("01", "00", "01"+"0000000000000000"+"03"+"6a4c00"+"00000000"))
	if a := mustAdd(t, w, raw); a.New {
		t.Errorf("the guard: got %+v, want nothing", a)
	}
}

func TestGuardTransactionID(t *testing.T) {
	raw := unhex(t, rawHex("01", "fd0000", goodOutputs)) // a length in three bytes instead of one
	tx, err := bt.NewTxFromBytes(raw)
	if err != nil || tx.TxID() == frame.HashOf(raw).String() {
		t.Errorf("the library: got the right id, or %v", err)
	}
	if err := CheckRawTransaction(raw); !errors.Is(err, ErrVarInt) {
		t.Errorf("the guard: got %v, want %v", err, ErrVarInt)
	}
}

func TestGuardSilentChange(t *testing.T) {
	k := testKey(t, 1, false)
	tx := bt.NewTx()
	if err := tx.FromUTXOs(&bt.UTXO{TxID: make([]byte, 32), LockingScript: payTo(k.KeyHash()), Satoshis: 3}); err != nil {
		t.Fatal(err)
	}
	tx.AddOutput(&bt.Output{Satoshis: 1, LockingScript: payTo(k.KeyHash())})
	if err := tx.ChangeToAddress(k.Address(frame.Main), bt.NewFeeQuote()); err != nil || len(tx.Outputs) != 1 {
		t.Errorf("the library: got %v and %d outputs, want no error and no change", err, len(tx.Outputs))
	}
	w := newWallet(t, Options{Keys: []Key{k}})
	mustAdd(t, w, funding(t, 1, k.KeyHash(), 3))
	var funds *FundsError
	if _, err := w.Build(Request{Recipients: hashes(t, 2)}); !errors.As(err, &funds) {
		t.Errorf("the guard: got %v, want a *FundsError", err)
	}
}

func TestGuardSigningWithTheWrongKey(t *testing.T) {
	right := testKey(t, 1, false)
	uncompressed := testKey(t, 1, true)
	for _, tt := range []struct {
		name string
		key  Key // that signs
		coin Key // that the coin pays to
	}{
		{"another key", testKey(t, 2, false), right},
		{"the right key, uncompressed", uncompressed, uncompressed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &coin{satoshis: 1000, key: tt.coin.KeyHash()}
			tx := bt.NewTx()
			if err := tx.FromUTXOs(utxo(c)); err != nil {
				t.Fatal(err)
			}
			tx.AddOutput(&bt.Output{Satoshis: 500, LockingScript: payTo(right.KeyHash())})
			signer := &libunlocker.Simple{PrivateKey: tt.key.private}
			if err := tx.FillInput(context.Background(), signer, bt.UnlockerParams{}); err != nil {
				t.Errorf("the library: got %v, want no complaint", err)
			}
			if err := runScripts(tx.Bytes(), []*coin{c}); err == nil {
				t.Errorf("the guard: it let the signature pass")
			}
		})
	}
}

// The seeds and keys are test vectors 1, 3 and 4 of BIP 32.
func TestGuardDerivedKeysWithLeadingZeros(t *testing.T) {
	tests := []struct {
		name, seed, path, want string
		wrong                  bool // in go-bk
	}{
		{"vector 1", "000102030405060708090a0b0c0d0e0f", "m/0'/1/2'/2/1000000000", "xprvA41z7zogVVwxVSgdKUHDy1SKmdb533PjDz7J6N6mV6uS3ze1ai8FHa8kmHScGpWmj4WggLyQjgPie1rFSruoUihUZREPSL39UNdE3BBDu76", false},
		{"vector 3", "4b381541583be4423346c643850da4b320e46a87ae3d2a4e6da11eba819cd4acba45d239319ac14f863b8d5ab5a0d0c64d2e8a1e7d1457df2e5a3c51c73235be", "m/0'", "xprv9uPDJpEQgRQfDcW7BkF7eTya6RPxXeJCqCJGHuCJ4GiRVLzkTXBAJMu2qaMWPrS7AANYqdq6vcBcBUdJCVVFceUvJFjaPdGZ2y9WACViL4L", false},
		{"vector 4, first step", "3ddd5602285899a946114506157c7997e5444528f3003f6134712147db19b678", "m/0'", "xprv9vB7xEWwNp9kh1wQRfCCQMnZUEG21LpbR9NPCNN1dwhiZkjjeGRnaALmPXCX7SgjFTiCTT6bXes17boXtjq3xLpcDjzEuGLQBM5ohqkao9G", false},
		{"vector 4, second step", "3ddd5602285899a946114506157c7997e5444528f3003f6134712147db19b678", "m/0'/1'", "xprv9xJocDuwtYCMNAo3Zw76WENQeAS6WGXQ55RCy7tDJ8oALr4FWkuVoHJeHVAcAqiZLE7Je3vZJHxspZdFHfnBEjHqU5hG1Jaj32dVoS6XLT1", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			steps, err := ParsePath(tt.path)
			if err != nil {
				t.Fatal(err)
			}
			lib, err := bip32.NewMaster(unhex(t, tt.seed), params(frame.Main))
			if err != nil {
				t.Fatal(err)
			}
			master := lib.String()
			for _, step := range steps {
				if lib, err = lib.Child(step); err != nil {
					t.Fatal(err)
				}
			}
			if wrong := lib.String() != tt.want; wrong != tt.wrong {
				t.Errorf("the library: wrong is %v, want %v", wrong, tt.wrong)
			}
			want, err := KeyFromExtended(tt.want, "m", frame.Main)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := keyFromSeed(unhex(t, tt.seed), steps, frame.Main); err != nil || !got.Equal(want) {
				t.Errorf("the guard, from the seed: got %v, %v; want %v", got, err, want)
			}
			if got, err := KeyFromExtended(master, tt.path, frame.Main); err != nil || !got.Equal(want) {
				t.Errorf("the guard, from the master key: got %v, %v; want %v", got, err, want)
			}
		})
	}
}

func TestGuardMnemonic(t *testing.T) {
	late := strings.Replace(aboutWords, "about", "zzz", 1)
	if panics(func() { bip39.MnemonicToSeed(late, "") }) == nil {
		t.Errorf("the library: no panic on a word after zoo")
	}
	if _, err := KeyFromWords(late, "", DefaultPath, frame.Main); !errors.Is(err, ErrWord) || !strings.Contains(err.Error(), "word 12 ") {
		t.Errorf("the guard: got %v, want %v and which word", err, ErrWord)
	}
	wrong := strings.Replace(aboutWords, "about", "zoo", 1)
	if _, err := bip39.MnemonicToSeed(wrong, ""); err != nil {
		t.Errorf("the library: got %v, want a wrong checksum ignored", err)
	}
	if _, err := KeyFromWords(wrong, "", DefaultPath, frame.Main); !errors.Is(err, ErrWordChecksum) {
		t.Errorf("the guard: got %v, want %v", err, ErrWordChecksum)
	}
	spaced := strings.Replace(aboutWords, " ", "  ", 1)
	a, err1 := bip39.MnemonicToSeed(aboutWords, "")
	b, err2 := bip39.MnemonicToSeed(spaced, "")
	if err1 != nil || err2 != nil || bytes.Equal(a, b) {
		t.Errorf("the library: got the same seed (%v, %v), want a second space to change it", err1, err2)
	}
	k1, err1 := KeyFromWords(aboutWords, "", DefaultPath, frame.Main)
	k2, err2 := KeyFromWords(spaced, "", DefaultPath, frame.Main)
	if err1 != nil || err2 != nil || !k1.Equal(k2) {
		t.Errorf("the guard: got %v and %v (%v, %v), want the same key", k1, k2, err1, err2)
	}
}

func TestGuardZeroKey(t *testing.T) {
	for _, scalar := range []string{strings.Repeat("00", 32), curveOrder} {
		text := check58(0x80, append(unhex(t, scalar), 1)...)
		if _, err := wif.DecodeWIF(text); err != nil {
			t.Errorf("the library: got %v, want %s read", err, scalar)
		}
		if _, err := ParseWIF(text, frame.Main); !errors.Is(err, ErrScalar) {
			t.Errorf("the guard: got %v, want %v", err, ErrScalar)
		}
	}
}

func TestGuardSharedSecretLength(t *testing.T) {
	a := testKey(t, 1, false)
	for n := 1; n < 256*40; n++ {
		b, err := NewKeyFromScalar([32]byte{30: byte(n >> 8), 31: byte(n)}, false)
		if err != nil {
			t.Fatal(err)
		}
		lib := bec.GenerateSharedSecret(a.private, b.private.PubKey())
		if len(lib) == 32 {
			continue
		}
		ab, err1 := a.SharedSecret(b.PublicKey())
		ba, err2 := b.SharedSecret(a.PublicKey())
		if err1 != nil || err2 != nil || len(ab) != 32 || !bytes.Equal(ab, ba) || !bytes.HasSuffix(ab, lib) {
			t.Errorf("the guard: got %x and %x (%v, %v), want 32 bytes that end with %x", ab, ba, err1, err2, lib)
		}
		if _, err := a.SharedSecret(make([]byte, 33)); !errors.Is(err, ErrPublicKey) {
			t.Errorf("the guard: no public key: got %v, want %v", err, ErrPublicKey)
		}
		return
	}
	t.Errorf("the library: no secret shorter than 32 bytes among %s", hex.EncodeToString(a.PublicKey()))
}
