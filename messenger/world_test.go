package messenger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"

	"github.com/metaim/metaim/api"
	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/memory"
	"github.com/metaim/metaim/internal/simchain"
	"github.com/metaim/metaim/nprotocol"
	"github.com/metaim/metaim/signer"
	"github.com/metaim/metaim/signer/broadcast"
)

// A world is a real server over an index in memory. Its node takes every
// transaction that it isn't told to refuse.
type world struct {
	t       *testing.T
	writer  *index.Writer
	rules   index.Rules
	http    *httptest.Server
	breaker *breaker

	mu     sync.Mutex
	taken  []*index.Transaction // in the order in which they came, each once
	blocks []*index.Block
	coins  uint64
	refuse string // what the node refuses all with; empty: it takes them
}

// A breaker is a way to the server that fails on demand.
type breaker struct {
	mu    sync.Mutex
	after int  // requests of POST that still pass; negative: all
	lost  bool // the request that fails reaches the server, and its answer is lost
}

var errBroken = errors.New("the connection is broken")

func (b *breaker) RoundTrip(r *http.Request) (*http.Response, error) {
	b.mu.Lock()
	fails := r.Method == http.MethodPost && b.after == 0
	if r.Method == http.MethodPost && b.after > 0 {
		b.after--
	}
	lost := b.lost
	b.mu.Unlock()
	if fails && !lost {
		return nil, errBroken
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if fails && err == nil {
		_ = resp.Body.Close()
		return nil, errBroken
	}
	return resp, err
}

// breaks lets so many submissions pass and fails those that follow.
func (b *breaker) breaks(after int, lost bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.after, b.lost = after, lost
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, rules: index.DefaultRules(frame.Regtest), breaker: &breaker{after: -1}}
	store := memory.New()
	w.writer = index.NewWriter(store, w.rules, func() {})
	server := api.New(api.Config{
		Index: store, Rules: w.rules, Version: "test", Submit: w.submit,
		Read:  func(raw []byte) (*index.Transaction, error) { return chainwatch.ReadTransaction(raw, frame.Regtest) },
		Prove: func(tx *index.Transaction) { chainwatch.Prove(tx, frame.Regtest) },
		// The quota of one address would end a test of many messages.
		Limits: client.Limits{Quota: client.Quota{Units: 1_000_000, Seconds: 1}},
	})
	w.http = httptest.NewServer(server.Handler())
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
		w.http.Close()
	})
	w.mine()
	return w
}

// submit is the node: what it takes is in the index at once.
func (w *world) submit(ctx context.Context, raw []byte) (frame.Hash, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuse != "" {
		return frame.HashOf(raw), &broadcast.Refused{Reason: w.refuse}
	}
	tx, err := chainwatch.ReadTransaction(append([]byte(nil), raw...), frame.Regtest)
	if err != nil {
		return frame.Hash{}, api.ErrNotTransaction
	}
	for _, known := range w.taken {
		if known.ID == tx.ID {
			return tx.ID, nil
		}
	}
	chainwatch.Prove(tx, frame.Regtest)
	w.taken = append(w.taken, tx)
	_, err = w.writer.Seen(ctx, []*index.Transaction{tx})
	return tx.ID, err
}

// refuses makes the node refuse everything, with an empty reason nothing.
func (w *world) refuses(reason string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refuse = reason
}

// mine connects a block with all that was taken since the last one, and what else
// is given.
func (w *world) mine(more ...*index.Transaction) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.blocks)
	when := int64(1_700_000_000 + n*600)
	b := &index.Block{Height: int32(n), MedianTime: when, Transactions: append(append([]*index.Transaction(nil), w.taken...), more...)}
	if n > 0 {
		copy(b.Header[4:36], w.blocks[n-1].Hash[:])
	}
	binary.LittleEndian.PutUint32(b.Header[36:], uint32(n))
	binary.LittleEndian.PutUint32(b.Header[68:], uint32(when))
	b.Hash = frame.HashOf(b.Header[:])
	for i, tx := range b.Transactions {
		tx.Index = uint32(i + 1)
	}
	if err := w.writer.Connect(w.t.Context(), []*index.Block{b}); err != nil {
		w.t.Fatal(err)
	}
	w.blocks, w.taken = append(w.blocks, b), nil
}

// operate is a transaction with one operation on a name.
func (w *world) operate(op nprotocol.Operation, name string, holder signer.Key, next ...signer.Key) *index.Transaction {
	w.t.Helper()
	r := &nprotocol.Record{Protocol: frame.N, Operation: op, Name: name, Address: holder.KeyHash(), TimeStamp: fmt.Sprint(1000 + len(w.blocks))}
	keys := []frame.PrivateKey{holder.Private()}
	for _, n := range next {
		r.NewAddress = n.KeyHash()
		keys = append(keys, n.Private())
	}
	if err := r.Sign(frame.Regtest, keys...); err != nil {
		w.t.Fatal(err)
	}
	fields := simchain.Record(r, simchain.Compact, simchain.Pushes, keys...)
	registration, _ := w.rules.RegistrationAddress(frame.N, 0)
	raw := w.transaction(simchain.Data(fields), simchain.Pay(registration, 1))
	tx, err := chainwatch.ReadTransaction(raw, frame.Regtest)
	if err != nil {
		w.t.Fatal(err)
	}
	chainwatch.Prove(tx, frame.Regtest)
	return tx
}

// transaction writes a transaction that spends a coin from nowhere.
func (w *world) transaction(outputs ...simchain.Output) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.coins++
	stranger := simchain.NewPerson(99, 1)
	tx := simchain.Tx{Inputs: []simchain.Input{simchain.Spend(simchain.Coin(w.coins), stranger.Key.PublicKey())}, Outputs: outputs}
	return tx.Bytes()
}

// A user is a person with a key, coins and a folder, who may log in again and
// again.
type user struct {
	w       *world
	key     signer.Key
	home    string
	secrets []signer.Secret
}

func (w *world) user() *user {
	w.t.Helper()
	u := &user{w: w, key: signer.NewKey(), home: w.t.TempDir()}
	a := u.login()
	if _, err := a.Wallet.Add(w.transaction(simchain.Pay(u.key.KeyHash(), 10_000_000))); err != nil {
		w.t.Fatal(err)
	}
	u.logout(a)
	return u
}

func (u *user) address() string { return u.key.Address(frame.Regtest) }

func (u *user) person() *Person {
	u.w.t.Helper()
	c, err := client.New(u.w.http.URL)
	if err != nil {
		u.w.t.Fatal(err)
	}
	c.HTTP = &http.Client{Transport: u.w.breaker}
	info, err := c.Info(u.w.t.Context())
	if err != nil {
		u.w.t.Fatal(err)
	}
	return &Person{Client: c, Info: info, Network: frame.Regtest}
}

func (u *user) login() *Account {
	u.w.t.Helper()
	wallet, err := signer.OpenWallet(u.w.t.Context(), signer.Options{Network: frame.Regtest, Keys: []signer.Key{u.key}, Journal: filepath.Join(u.home, "coins")})
	if err != nil {
		u.w.t.Fatal(err)
	}
	entry := signer.Entry{PublicEntry: signer.PublicEntry{Label: "me", PublicKey: u.key.PublicKey(), KeyHash: u.key.KeyHash()}, Key: u.key, Secrets: u.secrets}
	a, err := u.person().Open(u.w.t.Context(), u.key, []signer.Entry{entry}, wallet)
	if err != nil {
		u.w.t.Fatal(errors.Join(err, wallet.Close()))
	}
	return a
}

func (u *user) logout(a *Account) {
	u.w.t.Helper()
	if err := a.Wallet.Close(); err != nil {
		u.w.t.Fatal(err)
	}
}

func (u *user) outbox() *Outbox {
	u.w.t.Helper()
	o, err := OpenOutbox(filepath.Join(u.home, "outbox"))
	if err != nil {
		u.w.t.Fatal(err)
	}
	u.w.t.Cleanup(func() { _ = o.Close() })
	return o
}

// messages returns all messages of the user that count, oldest first, each with
// how often it is on the chain.
func (u *user) messages() (list []client.Message, occurrences map[string]int) {
	u.w.t.Helper()
	p := u.person()
	occurrences = map[string]int{}
	for m, err := range p.Newest(u.w.t.Context(), client.MessageQuery{Address: u.address()}) {
		if err != nil {
			u.w.t.Fatal(err)
		}
		full, err := p.Client.Message(u.w.t.Context(), m.ID)
		if err != nil {
			u.w.t.Fatal(err)
		}
		occurrences[m.ID] = len(full.Occurrences)
		list = append([]client.Message{m}, list...)
	}
	return list, occurrences
}
