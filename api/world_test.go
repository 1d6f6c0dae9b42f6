package api_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/metaim/metaim/api"
	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/sqlite"
	"github.com/metaim/metaim/nprotocol"
)

const genesisTime = 1_700_000_000

// A world is a real index with a writer, and a server of it.
type world struct {
	t      *testing.T
	path   string
	rules  index.Rules
	store  *sqlite.Store
	writer *index.Writer
	wake   chan struct{}

	blocks []*index.Block
	serial uint64
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, path: filepath.Join(t.TempDir(), "index.db"), rules: index.DefaultRules(frame.Regtest), wake: make(chan struct{}, 1)}
	w.open()
	return w
}

func (w *world) open() {
	w.t.Helper()
	store, err := sqlite.Open(w.t.Context(), w.path, sqlite.Config{Network: frame.Regtest})
	if err != nil {
		w.t.Fatal(err)
	}
	w.store = store
	w.t.Cleanup(func() { _ = store.Close() })
	w.writer = index.NewWriter(store, w.rules, func() {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	})
}

// key returns the n-th private key of the world.
func key(n byte) frame.PrivateKey {
	var k frame.PrivateKey
	k.Scalar[31] = n
	return k
}

func address(n byte) string { return frame.Regtest.Address(key(n).KeyHash()) }

// tx wraps frames in a transaction that pays the addresses.
func (w *world) tx(payer byte, outputs []frame.KeyHash, frames ...*index.Frame) *index.Transaction {
	w.serial++
	var id frame.Hash
	binary.LittleEndian.PutUint64(id[:], w.serial)
	for i, f := range frames {
		f.Output = uint32(i)
	}
	outputs = append(outputs, key(payer).KeyHash()) // change
	return &index.Transaction{ID: id, Outputs: outputs, InputKeys: [][]byte{key(payer).PublicKey()}, Frames: frames,
		Spends: []index.Outpoint{{TxID: frame.HashOf(id[:]), Output: 0}}}
}

type edit func(*improtocol.Message)

func (w *world) message(from byte, source, body string, edits ...edit) *index.Frame {
	w.serial++
	m := &improtocol.Message{Source: source, Type: "text", Encryption: "plain", Body: []byte(body)}
	m.SetTime(w.serial)
	for _, e := range edits {
		e(m)
	}
	m.Sign(key(from))
	return &index.Frame{Protocol: frame.IM, Message: m, ID: m.FrameID(), ContentID: m.ContentID(),
		Proofs: []frame.Proof{frame.Prove(m.Preimage(), m.Signature)}}
}

// send is a transaction with one text message.
func (w *world) send(from, to byte, body string, edits ...edit) *index.Transaction {
	return w.tx(from, []frame.KeyHash{key(to).KeyHash()}, w.message(from, address(from), body, edits...))
}

// operate is a transaction with one operation on a name.
func (w *world) operate(op nprotocol.Operation, name string, holder, next byte) *index.Transaction {
	w.serial++
	r := &nprotocol.Record{Protocol: frame.N, Operation: op, Name: name, Address: key(holder).KeyHash(), TimeStamp: fmt.Sprint(w.serial)}
	keys := []frame.PrivateKey{key(holder)}
	if op == nprotocol.Transfer {
		r.NewAddress = key(next).KeyHash()
		keys = append(keys, key(next))
	}
	if err := r.Sign(frame.Regtest, keys...); err != nil {
		w.t.Fatal(err)
	}
	preimage := r.Preimage(frame.Regtest)
	f := &index.Frame{Protocol: frame.N, Record: r, ID: frame.IDOf(preimage)}
	for _, s := range r.Signatures {
		f.Proofs = append(f.Proofs, frame.Prove(preimage, s))
	}
	registration, _ := w.rules.RegistrationAddress(frame.N, 0)
	return w.tx(holder, []frame.KeyHash{registration}, f)
}

// mine connects a block with the transactions.
func (w *world) mine(txs ...*index.Transaction) {
	w.t.Helper()
	w.mineAt(genesisTime+int64(len(w.blocks))*600, txs...)
}

func (w *world) mineAt(when int64, txs ...*index.Transaction) {
	w.t.Helper()
	w.serial++
	b := &index.Block{Height: int32(len(w.blocks)), MedianTime: when, Transactions: txs}
	if n := len(w.blocks); n > 0 {
		copy(b.Header[4:36], w.blocks[n-1].Hash[:])
	}
	binary.LittleEndian.PutUint64(b.Header[36:], w.serial)
	binary.LittleEndian.PutUint32(b.Header[68:], uint32(when))
	b.Hash = frame.HashOf(b.Header[:])
	for i, tx := range txs {
		tx.Index = uint32(i + 1)
	}
	if err := w.writer.Connect(context.Background(), []*index.Block{b}); err != nil {
		w.t.Fatal(err)
	}
	w.blocks = append(w.blocks, b)
}

// unmine takes the last block off.
func (w *world) unmine() {
	w.t.Helper()
	n := len(w.blocks) - 1
	if err := w.writer.Disconnect(context.Background(), int32(n-1)); err != nil {
		w.t.Fatal(err)
	}
	w.blocks = w.blocks[:n]
}

func (w *world) seen(txs ...*index.Transaction) {
	w.t.Helper()
	if _, err := w.writer.Seen(context.Background(), txs); err != nil {
		w.t.Fatal(err)
	}
}

// A served world has a server that runs.
type served struct {
	*world
	server *api.Server
	http   *httptest.Server
	client *client.Client
	stop   func() // ends Run and waits for it
}

// logTo writes a server's log into the test's.
type logTo struct{ t *testing.T }

func (l logTo) Write(b []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

func (w *world) serve(configure ...func(*api.Config)) *served {
	w.t.Helper()
	cfg := api.Config{
		Index: w.store, Rules: w.rules, Version: "test", Wake: w.wake,
		Logger: slog.New(slog.NewTextHandler(logTo{w.t}, nil)),
		Timing: api.Timing{Poll: 20 * time.Millisecond, ByeAfter: 50 * time.Millisecond, ByeWait: 500 * time.Millisecond},
	}
	for _, c := range configure {
		c(&cfg)
	}
	s := &served{world: w, server: api.New(cfg)}
	s.http = httptest.NewServer(s.server.Handler())
	var err error
	if s.client, err = client.New(s.http.URL); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.server.Run(ctx) }()
	stopped := false
	s.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				w.t.Errorf("run: got %v, want no error", err)
			}
		case <-time.After(20 * time.Second):
			w.t.Error("run didn't end within 20 s of its context")
		}
		s.http.Close()
	}
	w.t.Cleanup(s.stop)
	s.ready()
	return s
}

// ready waits until the server takes subscriptions.
func (s *served) ready() {
	s.t.Helper()
	eventually(s.t, "the server is ready", func() bool {
		resp, err := s.http.Client().Get(s.http.URL + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == 200
	})
}

// eventually polls until something holds, for at most 20 s.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("after 20 s it still isn't so that %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
