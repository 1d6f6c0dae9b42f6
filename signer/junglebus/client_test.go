package junglebus

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	rest "github.com/metaim/metaim/internal/junglebus"
	"github.com/metaim/metaim/internal/simchain"
	"github.com/metaim/metaim/signer"
)

func at(id frame.Hash, output uint32) index.Outpoint { return index.Outpoint{TxID: id, Output: output} }

func name(id frame.Hash, output uint32) string { return fmt.Sprintf("%s_%d", id, output) }

// find looks for alice's coins, or those of other keys too.
func find(t *testing.T, c *Client, keys ...signer.Key) (*Found, error) {
	t.Helper()
	hashes := []frame.KeyHash{alice.KeyHash()}
	for _, k := range keys {
		hashes = append(hashes, k.KeyHash())
	}
	return c.Find(t.Context(), Query{Network: frame.Main, Keys: hashes})
}

// summary writes coins as satoshis, with a ? where they wait for a block.
func summary(coins []Coin) string {
	var s []string
	for _, c := range coins {
		s = append(s, fmt.Sprint(c.Satoshis)+map[bool]string{true: "?"}[c.Waiting])
	}
	return strings.Join(s, " ")
}

// TestFind: what pays the keys and no transaction spends is offered, whoever tells
// of the spending.
func TestFind(t *testing.T) {
	coin := simchain.Coin
	outputs := func(o ...simchain.Output) []simchain.Output { return o }
	tests := []struct {
		name   string
		chain  func(f *fake)
		coins  string // of alice
		failed string // why a transaction is left out; empty: none is
	}{
		{"never used", func(*fake) {}, "", ""},
		{"two, and one of somebody else", func(f *fake) {
			f.add(1, pay(outputs(to(alice, 10), to(bob, 11), to(alice, 12)), coin(1)))
		}, "10 12", ""},
		{"no satoshis, no coin", func(f *fake) { f.add(1, pay(outputs(to(alice, 0), to(alice, 5)), coin(1))) }, "5", ""},
		{"one is spent by another listed", func(f *fake) {
			id := f.add(1, pay(outputs(to(alice, 10), to(alice, 12)), coin(1)))
			f.add(2, pay(outputs(to(bob, 9)), at(id, 0)))
		}, "12", ""},
		{"the spending is listed first", func(f *fake) {
			id := f.add(1, pay(outputs(to(alice, 10)), coin(1)))
			f.add(2, pay(outputs(to(alice, 9)), at(id, 0)))
			slices.Reverse(f.order)
		}, "9", ""},
		{"spent in no block yet", func(f *fake) {
			id := f.add(1, pay(outputs(to(alice, 10), to(alice, 20)), coin(1)))
			f.add(0, pay(outputs(to(alice, 9)), at(id, 0)))
		}, "20 9?", ""},
		{"spent by a script of another kind", func(f *fake) {
			id := f.add(1, pay(outputs(to(alice, 10)), coin(1)))
			f.add(2, simchain.Tx{Inputs: []simchain.Input{{Spends: at(id, 0), Script: []byte{0x51}}}, Outputs: outputs(to(bob, 1))})
		}, "", ""},
		{"in no block", func(f *fake) { f.add(0, pay(outputs(to(alice, 10)), coin(1))) }, "10?", ""},
		{"listed before its block came", func(f *fake) {
			id := f.add(7, pay(outputs(to(alice, 10)), coin(1)))
			f.answer = func(path string) (string, bool) {
				return fmt.Sprintf(`[{"transaction_id":%q,"block_hash":"","block_height":0}]`, id), strings.HasPrefix(path, "/address")
			}
		}, "10", ""},
		{"a list in parts", func(f *fake) {
			f.size = 2
			for n := range uint64(5) {
				f.add(int32(n)+1, pay(outputs(to(alice, 10+n)), coin(n)))
			}
		}, "10 11 12 13 14", ""},
		{"an older service", func(f *fake) {
			f.old = true
			f.add(1, pay(outputs(to(alice, 10)), coin(1)))
			f.add(0, pay(outputs(to(alice, 11)), coin(2)))
		}, "10 11?", ""},
		{"spent by one that isn't listed", func(f *fake) {
			id := f.add(1, pay(outputs(to(alice, 10), to(alice, 12)), coin(1)))
			spender := f.add(2, pay(outputs(to(bob, 9)), at(id, 0)))
			f.known[spender].hidden = true
			f.named[name(id, 0)] = spender
		}, "12", ""},
		{"said to be spent by one that doesn't", func(f *fake) {
			id := f.add(1, pay(outputs(to(alice, 10)), coin(1)))
			f.named[name(id, 0)] = f.add(2, pay(outputs(to(alice, 11)), coin(2)))
		}, "11", "and it doesn't"},
		{"said to be spent by one that isn't there", func(f *fake) {
			id := f.add(1, pay(outputs(to(alice, 10)), coin(1)))
			f.named[name(id, 0)] = frame.Hash{1}
		}, "", rest.ErrNotFound.Error()},
		{"one isn't there", func(f *fake) {
			f.add(1, pay(outputs(to(alice, 10)), coin(1)))
			id := f.add(2, pay(outputs(to(alice, 11)), coin(2)))
			f.answer = func(path string) (string, bool) { return `{}`, strings.HasSuffix(path, "get/"+id.String()) }
		}, "10", ErrNotIt.Error()},
		{"another one's bytes", func(f *fake) {
			id := f.add(1, pay(outputs(to(alice, 10)), coin(1)))
			other := f.add(2, pay(outputs(to(alice, 11)), coin(2)))
			f.known[id].raw = f.known[other].raw
		}, "11", ErrNotIt.Error()},
		{"bytes that are no transaction", func(f *fake) {
			raw := []byte("no transaction")
			id := frame.HashOf(raw)
			f.order, f.known[id] = append(f.order, id), &fakeTx{raw: raw, height: 1}
			f.add(2, pay(outputs(to(alice, 11)), coin(2)))
		}, "11", "not a transaction"},
		{"no JSON for one", func(f *fake) {
			id := f.add(1, pay(outputs(to(alice, 10)), coin(1)))
			f.add(2, pay(outputs(to(alice, 11)), coin(2)))
			f.answer = func(path string) (string, bool) { return `<html>`, strings.HasSuffix(path, "get/"+id.String()) }
		}, "11", rest.ErrAnswer.Error()},
		{"a block that is none", func(f *fake) {
			id := f.add(1, pay(outputs(to(alice, 10)), coin(1)))
			raw := fmt.Sprintf(`{"transaction":"%s","block_hash":"x"}`, "AQ==")
			f.answer = func(path string) (string, bool) { return raw, strings.HasSuffix(path, "get/"+id.String()) }
		}, "", ErrNotIt.Error()},
		{"too much for one", func(f *fake) {
			id := f.add(1, pay(outputs(to(alice, 10)), coin(1)))
			f.add(2, pay(outputs(to(alice, 11)), coin(2)))
			f.answer = func(path string) (string, bool) {
				return strings.Repeat(" ", 10<<20), strings.HasSuffix(path, "get/"+id.String())
			}
		}, "11", rest.ErrTooLong.Error()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			tt.chain(f)
			c := f.client()
			c.most.answer = 1 << 20
			found, err := find(t, c)
			if err != nil {
				t.Fatal(err)
			}
			if got := summary(found.Coins); got != tt.coins {
				t.Errorf("got coins %q, want %q", got, tt.coins)
			}
			why := ""
			for _, id := range found.Failed() {
				_, err := found.Raw(id)
				why = err.Error()
			}
			if (why == "") != (tt.failed == "") || !strings.Contains(why, tt.failed) {
				t.Errorf("left out because %q, want %q", why, tt.failed)
			}
			for _, coin := range found.Coins {
				raw, err := found.Raw(coin.TxID)
				if coin.Waiting != errors.Is(err, ErrWaiting) || err == nil && frame.HashOf(raw) != coin.TxID {
					t.Errorf("%s, waiting %v: got %d bytes, %v", coin.TxID, coin.Waiting, len(raw), err)
				}
			}
		})
	}
}

// TestKeys: a coin of one key that a transaction of another's list spends is spent,
// and each transaction is read once.
func TestKeys(t *testing.T) {
	f := newFake(t)
	both := f.add(1, pay([]simchain.Output{to(alice, 10), to(bob, 11), to(bob, 12)}, simchain.Coin(1)))
	spender := f.add(2, pay([]simchain.Output{to(bob, 9)}, at(both, 0), at(both, 1), simchain.Coin(9)))
	c := f.client()
	found, err := find(t, c, bob)
	if err != nil || summary(found.Coins) != "12 9" || found.Coins[0].Key != bob.KeyHash() {
		t.Fatalf("got %v, %v, want 12 and 9 of bob", found, err)
	}
	if read := slices.DeleteFunc(slices.Clone(f.asked), func(p string) bool { return !strings.HasPrefix(p, "/transaction/") }); len(read) != 2 {
		t.Errorf("asked for %q, want each of two once", read)
	}
	for _, tt := range []struct {
		coin index.Outpoint
		want frame.Hash
	}{{at(both, 0), spender}, {at(both, 1), spender}, {simchain.Coin(9), spender}, {simchain.Coin(1), both}, {at(both, 2), frame.Hash{}}} {
		if got, ok := found.Spender(tt.coin.TxID, tt.coin.Output); got != tt.want || ok != (tt.want != frame.Hash{}) {
			t.Errorf("what spends %s:%d: got %s, %v, want %s", tt.coin.TxID, tt.coin.Output, got, ok, tt.want)
		}
	}
	if _, err := found.Raw(frame.Hash{}); err == nil {
		t.Error("one that nobody told of: got its bytes")
	}
}

// TestOthers: what is paid to another key beside a coin is asked for, since the
// wallet will be shown the transaction; its address isn't.
func TestOthers(t *testing.T) {
	f := newFake(t)
	both := f.add(1, pay([]simchain.Output{to(alice, 10), to(bob, 11), to(bob, 12)}, simchain.Coin(1)))
	spender := f.add(2, pay([]simchain.Output{to(signer.NewKey(), 1)}, at(both, 1)))
	f.known[spender].hidden = true
	f.named[name(both, 1)] = spender
	alone := f.add(3, pay([]simchain.Output{to(bob, 13)}, simchain.Coin(2)))
	found, err := f.client().Find(t.Context(), Query{Network: frame.Main, Keys: []frame.KeyHash{alice.KeyHash()}, Others: []frame.KeyHash{bob.KeyHash()}})
	if err != nil || summary(found.Coins) != "10" {
		t.Fatalf("got %v, %v, want a coin of 10", found, err)
	}
	if got, ok := found.Spender(both, 1); !ok || got != spender {
		t.Errorf("what spends bob's coin: got %s, %v, want %s", got, ok, spender)
	}
	asked := strings.Join(f.asked, " ")
	if strings.Contains(asked, frame.Main.Address(bob.KeyHash())) || strings.Contains(asked, "/txo/spend/"+name(alone, 0)) {
		t.Errorf("asked for %s, want nothing of bob's own", asked)
	}
}

// TestFaults: whatever a service does as a whole, it is said, nothing is found, and
// not more is read than is allowed.
func TestFaults(t *testing.T) {
	var network *NetworkError
	var status *rest.StatusError
	isStatus := func(want int) func(error) bool {
		return func(err error) bool { return errors.As(err, &status) && status.Status == want }
	}
	is := func(want error) func(error) bool { return func(err error) bool { return errors.Is(err, want) } }
	list := func(text string) func(f *fake, c *Client) {
		return func(f *fake, _ *Client) {
			f.answer = func(path string) (string, bool) { return text, strings.HasPrefix(path, "/address/") }
		}
	}
	id := frame.Hash{1}.String()
	tests := []struct {
		name  string
		fault func(f *fake, c *Client)
		want  func(error) bool // nil: all is well in spite of it
	}{
		{"nothing", func(*fake, *Client) {}, nil},
		{"asked too often, twice", func(f *fake, _ *Client) { f.refuse, f.status, f.after = 2, 429, "0" }, nil},
		{"it fails three times", func(f *fake, _ *Client) { f.refuse, f.status = 3, 502 }, nil},
		{"asked too often, for long", func(f *fake, _ *Client) { f.refuse, f.status = 1000, 429 }, isStatus(429)},
		{"down", func(f *fake, _ *Client) { f.refuse, f.status = 1000, 500 }, isStatus(500)},
		{"nobody is let in", func(f *fake, _ *Client) { f.refuse, f.status = 1, 403 }, isStatus(403)},
		{"a wait that is none", func(f *fake, _ *Client) { f.refuse, f.status, f.after = 1, 503, "-5" }, nil},
		{"another network", func(f *fake, _ *Client) { f.genesis = id }, func(err error) bool { return errors.As(err, &network) && network.Got == id }},
		{"no such service", func(f *fake, _ *Client) { f.refuse, f.status = 1, 404 }, func(err error) bool { return strings.Contains(err.Error(), "is no JungleBus service") }},
		{"a web page", func(f *fake, _ *Client) { f.answer = func(string) (string, bool) { return "<html>", true } }, func(err error) bool { return strings.Contains(err.Error(), "is no JungleBus service") }},
		{"no list", list(`{"error":"no"}`), is(rest.ErrAnswer)},
		{"no JSON", list(`[{"transaction_id"`), is(rest.ErrAnswer)},
		{"an id that is none", list(`[{"transaction_id":"be","block_hash":"","block_height":1}]`), is(rest.ErrAnswer)},
		{"a block that is none", list(`[{"transaction_id":"` + id + `","block_hash":"be","block_height":1}]`), is(rest.ErrAnswer)},
		{"a negative height", list(`[{"transaction_id":"` + id + `","block_hash":"","block_height":-1}]`), is(rest.ErrAnswer)},
		{"a height beyond 31 bits", list(`[{"transaction_id":"` + id + `","block_hash":"","block_height":2147483648}]`), is(rest.ErrAnswer)},
		{"a list of 20 MB", list(strings.Repeat(" ", 20<<20)), func(err error) bool {
			return errors.Is(err, ErrTooMany) && strings.Contains(err.Error(), "more than 10000")
		}},
		{"one more than allowed", func(f *fake, c *Client) {
			c.most.transactions = 2
			f.add(3, pay([]simchain.Output{to(alice, 1)}, simchain.Coin(3)))
		}, is(ErrTooMany)},
		{"a list without end", func(f *fake, c *Client) {
			n := 0
			f.answer = func(path string) (string, bool) {
				n++
				return fmt.Sprintf(`[{"transaction_id":"%064x","block_hash":"","block_height":%d}]`, n, n), strings.HasPrefix(path, "/address/")
			}
		}, is(ErrTooMany)},
		{"more bytes than allowed together", func(_ *fake, c *Client) { c.most.all = 200 }, is(ErrTooLarge)},
		{"a spender that is no id", func(f *fake, _ *Client) {
			f.answer = func(path string) (string, bool) {
				return "33 bytes are one more than it has", strings.HasPrefix(path, "/txo/")
			}
		}, is(rest.ErrAnswer)},
		{"spenders without end", func(f *fake, _ *Client) {
			f.answer = func(path string) (string, bool) { return strings.Repeat("x", 10<<20), strings.HasPrefix(path, "/txo/") }
		}, is(rest.ErrTooLong)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			f.add(1, pay([]simchain.Output{to(alice, 10)}, simchain.Coin(1)))
			f.add(2, pay([]simchain.Output{to(alice, 20)}, simchain.Coin(2)))
			c := f.client()
			tt.fault(f, c)
			found, err := find(t, c)
			switch {
			case tt.want == nil && (err != nil || summary(found.Coins) != "10 20"):
				t.Errorf("got %v, %v, want coins of 10 and 20", found, err)
			case tt.want != nil && (err == nil || !tt.want(err)):
				t.Errorf("got %v, want another error", err)
			case err != nil && strings.ContainsRune(err.Error(), 0x1b):
				t.Errorf("the error holds control characters: %q", err)
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			if len(f.asked) > c.most.pages+10 {
				t.Errorf("asked %d times", len(f.asked))
			}
		})
	}
}

// TestTime: a service that doesn't answer, or goes on for ever, is given up, with the
// reason; so is one that nobody waits for any more.
func TestTime(t *testing.T) {
	open := make(chan struct{})
	f := newFake(t)
	f.answer = func(path string) (string, bool) {
		if strings.HasPrefix(path, "/address/") {
			<-open
		}
		return "", false
	}
	c := f.client()
	t.Cleanup(func() { close(open) }) // before the server is closed
	c.service.Patience = 50 * time.Millisecond
	if _, err := find(t, c); err == nil || !strings.Contains(err.Error(), "doesn't answer within 50ms") {
		t.Errorf("no answer: got %v", err)
	}
	c.service.Patience, c.most.time = time.Hour, 50*time.Millisecond
	if _, err := find(t, c); !errors.Is(err, ErrTooSlow) {
		t.Errorf("no end: got %v, want %v", err, ErrTooSlow)
	}
	c.most.time = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Find(ctx, Query{Network: frame.Main, Keys: []frame.KeyHash{alice.KeyHash()}}); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: got %v, want %v", err, context.Canceled)
	}
}

// TestTold: how far the reading is is told one after the other.
func TestTold(t *testing.T) {
	f := newFake(t)
	for n := range uint64(20) {
		f.add(1, pay([]simchain.Output{to(alice, 10+n)}, simchain.Coin(n)))
	}
	var got []int
	if _, err := f.client().Find(t.Context(), Query{Network: frame.Main, Keys: []frame.KeyHash{alice.KeyHash()}, Told: func(done, all int) { got = append(got, done, all) }}); err != nil {
		t.Fatal(err)
	}
	var want []int
	for n := range 20 {
		want = append(want, n+1, 20)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestAddress(t *testing.T) {
	for _, address := range []string{"", "host", "ftp://host", "https://user:secret@host", "https://host?key=secret", "http://%zz"} {
		if _, err := New(address, genesis); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v, want an error without it", address, err)
		}
	}
	c, err := New(DefaultURL+"/", genesis)
	if err != nil || c.service.URL != DefaultURL || cap(c.service.Turns) != 4 || c.service.HTTP == http.DefaultClient {
		t.Errorf("got %+v, %v", c, err)
	}
}
