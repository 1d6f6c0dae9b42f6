package signer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metaim/metaim/improtocol/frame"
)

// dump writes what a ledger knows, whatever the order in which it learnt it.
func dump(t testing.TB, l *ledger) string {
	t.Helper()
	var b bytes.Buffer
	if err := writeJournal(&b, frame.Regtest, l, new(int64)); err != nil {
		t.Fatal(err)
	}
	for at, c := range l.coins {
		if c.spendable() && !c.queued {
			t.Errorf("coin %v can be spent and isn't in its queue", at)
		}
	}
	return b.String()
}

// history makes a journal with something of everything and returns its path and
// the wallet, still open.
func history(t *testing.T) (string, *Wallet, Key) {
	t.Helper()
	k := testKey(t, 1, false)
	path := filepath.Join(t.TempDir(), "wallet", "coins.journal")
	w := newWallet(t, Options{Keys: []Key{k}, Journal: path})
	mustAdd(t, w, funding(t, 1, k.KeyHash(), 10_000, 1, 1))
	q := Request{Script: message(120), Recipients: hashes(t, 2, 1)}
	var built []*Signed
	for range 6 {
		built = append(built, mustBuild(t, w, q))
	}
	for _, s := range built[:3] {
		if err := w.Accept(s.TxID); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Release(built[5].TxID); err != nil {
		t.Fatal(err)
	}
	return path, w, k
}

func TestCrashLosesNothing(t *testing.T) {
	path, w, k := history(t)
	want, pending := dump(t, w.ledger), w.Pending()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		w = newWallet(t, Options{Keys: []Key{k}, Journal: path})
		if got := dump(t, w.ledger); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		got := w.Pending()
		if len(got) != 2 || !bytes.Equal(got[0], pending[0]) || !bytes.Equal(got[1], pending[1]) {
			t.Fatalf("got %d pending, want the same 2 in their order", len(got))
		}
		if _, err := w.Extend(got[0]); err != nil {
			t.Errorf("extend a pending one: %v", err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	w = newWallet(t, Options{Keys: []Key{k}, Journal: path})
	used := map[outpoint]bool{}
	for _, raw := range append(w.Pending(), mustBuild(t, w, Request{Script: message(10)}).Raw) {
		tx, err := readTransaction(raw)
		if err != nil {
			t.Fatal(err)
		}
		for _, in := range tx.inputs {
			if used[in.spends] {
				t.Errorf("%v is spent twice", in.spends)
			}
			used[in.spends] = true
		}
	}
}

// The file is cut at every length: whatever was written whole is still there,
// and what comes after opening is written behind it.
func TestTornJournal(t *testing.T) {
	path, w, k := history(t)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "coins")
	step := func(size int) int { // every byte around a line's end, few others
		near := whole[max(size-3, 0):min(size+3, len(whole))]
		if bytes.IndexByte(near, '\n') >= 0 {
			return 1
		}
		return min(97, max(1, bytes.IndexByte(whole[size:], '\n')))
	}
	for size := 0; size <= len(whole); size += step(size) {
		for _, tail := range []string{"", "\x00\x00\x00", "{}\n"} {
			if tail == "{}\n" && (size == 0 || whole[size-1] != '\n') || tail != "" && size < 100 {
				continue
			}
			if err := os.WriteFile(cut, append(bytes.Clone(whole[:size]), tail...), 0o600); err != nil {
				t.Fatal(err)
			}
			want := newLedger()
			end := bytes.LastIndexByte(whole[:size], '\n') + 1
			if _, _, err := replayLines(bytes.NewReader(whole[:end]), frame.Regtest, want); err != nil {
				t.Fatalf("cut at %d: %v", end, err)
			}
			w, err := OpenWallet(t.Context(), Options{Network: frame.Regtest, Keys: []Key{k}, Journal: cut})
			if err != nil {
				t.Fatalf("cut at %d with %q behind: %v", size, tail, err)
			}
			if got, want := dump(t, w.ledger), dump(t, want); got != want {
				t.Fatalf("cut at %d: got\n%s\nwant\n%s", size, got, want)
			}
			mustAdd(t, w, funding(t, 77, k.KeyHash(), 5))
			want2 := dump(t, w.ledger)
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if w, err = OpenWallet(t.Context(), Options{Network: frame.Regtest, Keys: []Key{k}, Journal: cut}); err != nil {
				t.Fatalf("cut at %d, written to, opened again: %v", size, err)
			}
			if got := dump(t, w.ledger); got != want2 {
				t.Fatalf("cut at %d, written to: got\n%s\nwant\n%s", size, got, want2)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestDamagedJournalIsLeftAlone(t *testing.T) {
	path, w, k := history(t)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(whole), "\n")
	header, rest := lines[0], strings.Join(lines[1:], "")
	const build = `"op":"build","tx":"`
	at := strings.Index(lines[2], build) + len(build)
	renamed := lines[2][:at] + strings.Repeat("0", 64) + lines[2][at+64:]
	tests := []struct {
		name, file, want string
	}{
		{"another file", "hello\n", ErrJournal.Error()},
		{"another file without a line", "hello", ErrJournal.Error()},
		{"binary", strings.Repeat("\x00\xff", 50_000), ErrJournal.Error()},
		{"no header", rest, ErrJournal.Error()},
		{"another network", strings.Replace(header, "regtest", "main", 1) + rest, `it holds coins of network "main"`},
		{"a later version", strings.Replace(header, `"version":1`, `"version":2`, 1) + rest, "version 2"},
		{"a bad line in the middle", header + lines[1] + "{}\n" + lines[2] + lines[3], "line 3: unknown op"},
		{"a line cut in the middle", header + lines[1][:40] + "\n" + lines[2] + lines[3], "line 2: "},
		{"accepts what isn't there", header + `{"op":"accept","tx":"` + strings.Repeat("0", 64) + `"}` + "\n" + lines[1], "line 2: no transaction"},
		{"names another transaction", header + renamed + lines[3], "line 2: the raw transaction isn't the one named"},
		{"a coin of nothing", header + `{"op":"add","tx":"` + strings.Repeat("0", 64) + `","creates":[{"vout":0,"satoshis":0,"key":"` + strings.Repeat("0", 40) + `"}]}` + "\n" + lines[1], "line 2: an output of no satoshis"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte(tt.file), 0o600); err != nil {
				t.Fatal(err)
			}
			w, err := OpenWallet(t.Context(), Options{Network: frame.Regtest, Keys: []Key{k}, Journal: path})
			if err == nil {
				w.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if after, _ := os.ReadFile(path); string(after) != tt.file {
				t.Errorf("the file changed")
			}
		})
	}
	t.Run("mode", func(t *testing.T) {
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
		var wide *ModeError
		if _, err := OpenWallet(t.Context(), Options{Network: frame.Regtest, Keys: []Key{k}, Journal: path}); !errors.As(err, &wide) {
			t.Errorf("got %v, want a *ModeError", err)
		}
	})
}

func TestJournalIsCompacted(t *testing.T) {
	k := testKey(t, 1, false)
	path := filepath.Join(t.TempDir(), "coins")
	w := newWallet(t, Options{Keys: []Key{k}, Journal: path})
	mustAdd(t, w, funding(t, 1, k.KeyHash(), 1_000_000))
	for range 20 {
		s := mustBuild(t, w, Request{Script: message(2000)})
		if err := w.Accept(s.TxID); err != nil {
			t.Fatal(err)
		}
	}
	want := dump(t, w.ledger)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	before, _ := os.Stat(path)
	w = newWallet(t, Options{Keys: []Key{k}, Journal: path})
	after, err := os.Stat(path)
	if err != nil || after.Size() > before.Size()/5 || after.Mode().Perm() != 0o600 {
		t.Errorf("got %d bytes, mode %v, %v; want less than a fifth of %d", after.Size(), after.Mode(), err, before.Size())
	}
	if got := dump(t, w.ledger); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestWalletRefusesAfterAFailedWrite(t *testing.T) {
	k := testKey(t, 1, false)
	w := newWallet(t, Options{Keys: []Key{k}, Journal: filepath.Join(t.TempDir(), "coins")})
	mustAdd(t, w, funding(t, 1, k.KeyHash(), 10_000))
	w.log.file.Close() // as if the disk were gone
	if _, err := w.Build(Request{Script: message(10)}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v, want the fault of the file", err)
	}
	if _, err := w.Build(Request{Script: message(10)}); err == nil || !strings.Contains(err.Error(), "must be opened again") {
		t.Errorf("got %v, want a refusal", err)
	}
}

func TestClosedWalletRefuses(t *testing.T) {
	k := testKey(t, 1, false)
	w := newWallet(t, Options{Keys: []Key{k}, Journal: filepath.Join(t.TempDir(), "coins")})
	for range 2 {
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Build(Request{Script: message(10)}); !errors.Is(err, ErrClosed) {
		t.Errorf("build: got %v, want %v", err, ErrClosed)
	}
	if _, err := w.Add(funding(t, 1, k.KeyHash(), 10_000)); !errors.Is(err, ErrClosed) {
		t.Errorf("add: got %v, want %v", err, ErrClosed)
	}
}

// FuzzJournal: no file makes opening panic, and what opens, opens again with the
// same coins.
func FuzzJournal(f *testing.F) {
	header, err := headerLine(frame.Regtest)
	if err != nil {
		f.Fatal(err)
	}
	k := testKey(f, 1, false)
	w, err := OpenWallet(context.Background(), Options{Network: frame.Regtest, Keys: []Key{k}})
	if err != nil {
		f.Fatal(err)
	}
	mustAdd(f, w, funding(f, 1, k.KeyHash(), 10_000))
	first, second := mustBuild(f, w, Request{Script: message(20)}), mustBuild(f, w, Request{Script: message(20)})
	var b bytes.Buffer
	if err := writeJournal(&b, frame.Regtest, w.ledger, new(int64)); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(fmt.Appendf(b.Bytes(), "{\"op\":\"accept\",\"tx\":%q}\n{\"op\":\"release\",\"tx\":%q}\n", second.TxID, first.TxID))
	f.Add(header)
	f.Add(header[:20])
	f.Add([]byte{})
	// Two transactions that spend what the other made.
	one, two := strings.Repeat("1", 64), strings.Repeat("2", 64)
	f.Add(fmt.Appendf(bytes.Clone(header), `{"op":"add","tx":"%[1]s","spends":["%[2]s:0"],"creates":[{"vout":0,"satoshis":5,"key":"%[3]040d"}]}
{"op":"add","tx":"%[2]s","spends":["%[1]s:0"],"creates":[{"vout":0,"satoshis":5,"key":"%[3]040d"}]}
{"op":"release","tx":"%[1]s"}
{"op":"accept","tx":"%[2]s"}
{"op":"add","tx":"%[1]s","spends":["%[1]s:0"]}
`, one, two, 0))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, file []byte) {
		path := filepath.Join(dir, "coins")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		log, l, err := openJournal(path, frame.Regtest)
		if err != nil {
			if after, _ := os.ReadFile(path); !bytes.Equal(after, file) {
				t.Errorf("refused (%v), and the file changed", err)
			}
			return
		}
		if err := log.close(); err != nil {
			t.Fatal(err)
		}
		log, again, err := openJournal(path, frame.Regtest)
		if err != nil {
			t.Fatalf("opened once, not twice: %v", err)
		}
		if err := log.close(); err != nil {
			t.Fatal(err)
		}
		if got, want := dump(t, again), dump(t, l); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}
