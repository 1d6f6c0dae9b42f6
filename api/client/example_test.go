package client_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/metaim/metaim/api"
	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/sqlite"
)

// An office is a small server for the examples: two people, Alice and Bob, on a
// chain of one block.
type office struct {
	*client.Client
	Alice, Bob string // addresses

	writer *index.Writer
	sent   uint64
	close  []func()
}

func key(n byte) (k frame.PrivateKey) {
	k.Scalar[31] = n
	return k
}

func open() *office {
	dir, err := os.MkdirTemp("", "example")
	check(err)
	ctx, stop := context.WithCancel(context.Background())
	store, err := sqlite.Open(ctx, filepath.Join(dir, "index.db"), sqlite.Config{Network: frame.Regtest})
	check(err)
	rules, wake := index.DefaultRules(frame.Regtest), make(chan struct{}, 1)
	writer := index.NewWriter(store, rules, func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	})
	block := &index.Block{MedianTime: 1_700_000_000}
	block.Hash = frame.HashOf(block.Header[:])
	check(writer.Connect(ctx, []*index.Block{block}))
	server := api.New(api.Config{
		Index: store, Rules: rules, Wake: wake, Version: "example",
		Submit: func(_ context.Context, raw []byte) (frame.Hash, error) { return frame.HashOf(raw), nil },
	})
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	web := httptest.NewServer(server.Handler())
	o := &office{Alice: frame.Regtest.Address(key(1).KeyHash()), Bob: frame.Regtest.Address(key(2).KeyHash()), writer: writer}
	o.Client, err = client.New(web.URL)
	check(err)
	o.close = []func(){func() { stop(); check(<-ended) }, web.Close, func() { check(store.Close()) }, func() { check(os.RemoveAll(dir)) }}
	return o
}

func (o *office) Close() {
	for _, end := range o.close {
		end()
	}
}

// Say has Alice send Bob a message, as a node would announce it.
func (o *office) Say(text string) {
	o.sent++
	m := &improtocol.Message{Source: o.Alice, Type: "text", Encryption: "plain", Body: []byte(text)}
	m.SetTime(1_700_000_000_000 + o.sent)
	m.Sign(key(1))
	f := &index.Frame{Protocol: frame.IM, Message: m, ID: m.FrameID(), ContentID: m.ContentID(),
		Proofs: []frame.Proof{frame.Prove(m.Preimage(), m.Signature)}}
	tx := &index.Transaction{Outputs: []frame.KeyHash{key(2).KeyHash()}, InputKeys: [][]byte{key(1).PublicKey()}, Frames: []*index.Frame{f}}
	binary.LittleEndian.PutUint64(tx.ID[:], o.sent)
	_, err := o.writer.Seen(context.Background(), []*index.Transaction{tx})
	check(err)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func ExampleClient_Info() {
	server := open() // client.New("https://...")
	defer server.Close()
	info, err := server.Info(context.Background())
	check(err)
	fmt.Println(info.Network, "at height", info.Tip.Height)
	fmt.Println("takes transactions:", info.Submits)
	// Output:
	// regtest at height 0
	// takes transactions: true
}

func ExampleClient_AllMessages() {
	server := open()
	defer server.Close()
	server.Say("hello")
	server.Say("are you there?")
	for m, err := range server.AllMessages(context.Background(), client.MessageQuery{Address: server.Bob, Oldest: true}) {
		check(err)
		check(client.Verify(m, frame.Regtest)) // whatever the server says
		fmt.Printf("%s: %q\n", m.State, *m.Text)
	}
	// Output:
	// seen: "hello"
	// seen: "are you there?"
}

func ExampleClient_Submit() {
	server := open()
	defer server.Close()
	done, err := server.Submit(context.Background(), []byte("a signed transaction, as a wallet makes it"))
	var refused *client.Problem
	if errors.As(err, &refused) && refused.Code == client.CodeRefused {
		log.Fatal("the node says no: ", refused.Detail)
	}
	check(err)
	fmt.Println("accepted:", done.TxID[:16])
	// Output:
	// accepted: 7285c2987ae8c42c
}

// A bot reads what came before, then waits for what comes.
func ExampleClient_Subscribe() {
	server := open()
	defer server.Close()
	server.Say("hello")
	options := client.SubscribeOptions{
		From:     "start",
		CaughtUp: func(string) { server.Say("news") },
	}
	toBob := client.Filter{Address: []string{server.Bob}, State: []string{"seen"}}
	for e, err := range server.Subscribe(context.Background(), []client.Filter{toBob}, options) {
		check(err)
		fmt.Printf("%s, %s: %q\n", e.Phase, e.Kind, *e.Message.Text)
		if *e.Message.Text == "news" {
			break
		}
	}
	// Output:
	// history, message.seen: "hello"
	// live, message.seen: "news"
}

// The cursor of the last event done is kept, and after a restart given back: then
// nothing is missed, and nothing comes twice.
func ExampleClient_Subscribe_resume() {
	server := open()
	defer server.Close()
	for _, text := range []string{"one", "two", "three"} {
		server.Say(text)
	}
	kept := ""
	read := func(events int, options client.SubscribeOptions) {
		for e, err := range server.Subscribe(context.Background(), nil, options) {
			check(err)
			fmt.Println(*e.Message.Text)
			kept = e.Cursor
			if events--; events == 0 {
				return
			}
		}
	}
	read(1, client.SubscribeOptions{From: "start"})
	fmt.Println("-- restarted")
	read(2, client.SubscribeOptions{Cursor: kept, Compress: true})
	// Output:
	// one
	// -- restarted
	// two
	// three
}
