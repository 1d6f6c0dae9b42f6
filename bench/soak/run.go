package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/devnet"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/signer"
)

const (
	funds      = 1_000_000_000 // satoshis of each sender
	blockEvery = 10 * time.Second
	lastEvents = 2 * time.Minute // for what was sent to be told
)

func (s *soak) run(ctx context.Context) (err error) {
	node, err := devnet.Start(ctx, devnet.Config{BlockEvery: blockEvery})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.Stop()) }()
	v, err := s.serve(ctx, node.Dir())
	if v != nil {
		defer func() { err = errors.Join(err, v.stop()) }()
	}
	if err != nil {
		return err
	}
	senders := make([]*sender, s.senders)
	for i := range senders {
		if senders[i], err = newSender(ctx, node, v.url); err != nil {
			return err
		}
	}
	if err := s.sign(senders); err != nil {
		return err
	}
	if _, err := node.Mine(ctx, 1); err != nil {
		return err
	}
	readers := make([]*reader, s.subscribers)
	life, end := context.WithCancel(ctx)
	var joined sync.WaitGroup
	defer joined.Wait()
	defer end()
	for i := range readers {
		readers[i] = &reader{socket: i%4 != 3}
		c, err := client.New(v.url)
		if err != nil {
			return err
		}
		joined.Go(func() { readers[i].read(life, c) })
	}
	samples, err := s.load(ctx, v, node, senders, readers)
	if err != nil {
		return err
	}
	used, err := v.cpu()
	if err != nil {
		return err
	}
	if n := sentBy(senders); n > 0 {
		fmt.Printf("the server used %.2f of a core, %.0f us of CPU a message\n", used/(s.minutes*60), 1e6*used/float64(n))
	}
	return s.judge(ctx, v, node, samples, senders, readers)
}

// sign has all messages signed beforehand: what signs them would take as much of
// the machine as the server does.
func (s *soak) sign(senders []*sender) error {
	each := int(s.minutes*60*float64(s.rate))/len(senders) + 1
	began := time.Now()
	var working errgroup.Group
	working.SetLimit(runtime.GOMAXPROCS(0))
	for _, n := range senders {
		working.Go(func() error { return n.prepare(each) })
	}
	err := working.Wait()
	fmt.Printf("%d messages are signed, after %s\n", each*len(senders), time.Since(began).Round(time.Second))
	return err
}

// load sends until the time is over, mines, and looks at the server.
func (s *soak) load(ctx context.Context, v *server, node *devnet.Node, senders []*sender, readers []*reader) (samples []sample, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.minutes*float64(time.Minute)))
	defer cancel()
	var working sync.WaitGroup
	defer working.Wait()
	start := time.Now()
	for _, n := range senders {
		working.Go(func() { n.send(ctx, time.Duration(len(senders))*time.Second/time.Duration(s.rate)) })
	}
	working.Go(func() {
		for ctx.Err() == nil {
			rest(ctx, blockEvery)
			if _, err := node.Mine(context.WithoutCancel(ctx), 1); err != nil {
				fmt.Println("mine:", err)
			}
		}
	})
	fmt.Printf("%8s %10s %8s %9s %6s %11s %8s\n", "seconds", "sent", "told", "RSS MiB", "files", "goroutines", "queue")
	for {
		rest(ctx, s.every)
		if ctx.Err() != nil {
			return samples, nil
		}
		at, err := v.look(ctx, start)
		if err != nil {
			if ctx.Err() != nil {
				return samples, nil // the time is over
			}
			return samples, err
		}
		samples = append(samples, at)
		fmt.Printf("%8.0f %10d %8d %9.1f %6.0f %11.0f %8.0f\n", at.at, sentBy(senders), readers[0].last.Load(), at.rss/(1<<20), at.descriptors, at.goroutines, at.queue)
	}
}

// judge waits for the last events and says how it went.
func (s *soak) judge(ctx context.Context, v *server, node *devnet.Node, samples []sample, senders []*sender, readers []*reader) error {
	sent := sentBy(senders)
	var faults []error
	for _, n := range senders {
		faults = append(faults, n.fault)
	}
	c, err := client.New(v.url)
	if err != nil {
		return err
	}
	for until := time.Now().Add(lastEvents); time.Now().Before(until) && ctx.Err() == nil && readers[0].confirmed.Load() < sent; rest(ctx, time.Second) {
		if _, err := node.Mine(ctx, 1); err != nil {
			return err
		}
	}
	info, err := c.Info(ctx)
	if err != nil {
		return err
	}
	last, err := seqOf(info.Cursor)
	if err != nil {
		return err
	}
	for until := time.Now().Add(lastEvents); time.Now().Before(until) && ctx.Err() == nil && behind(readers, last); {
		rest(ctx, 100*time.Millisecond)
	}
	var lost, doubled int64
	for i, r := range readers {
		lost, doubled = lost+r.lost.Load()+max(0, last-r.last.Load()), doubled+r.doubled.Load()
		if got := r.confirmed.Load(); got != sent {
			faults = append(faults, fmt.Errorf("subscriber %d was told that %d messages are confirmed; %d were sent", i, got, sent))
		}
		if err := r.err.Load(); err != nil {
			faults = append(faults, fmt.Errorf("subscriber %d: %w", i, *err))
		}
	}
	rate := float64(sent) / (s.minutes * 60)
	fmt.Printf("%d messages in %.1f minutes, %.0f a second; %d events to each of %d subscribers: %d lost, %d told twice\n", sent, s.minutes, rate, last, len(readers), lost, doubled)
	report, err := checkFlat(samples)
	fmt.Println(report)
	faults = append(faults, err)
	if lost+doubled > 0 {
		faults = append(faults, errors.New("events were lost or told twice"))
	}
	if rate < 0.9*float64(s.rate) {
		fmt.Printf("the machine carries %.0f messages a second, not the %d that were asked for\n", rate, s.rate)
	}
	return errors.Join(faults...)
}

func behind(readers []*reader, last int64) bool {
	for _, r := range readers {
		if r.last.Load() < last && r.err.Load() == nil {
			return true
		}
	}
	return false
}

// A sender submits messages that it has signed, one after the other.
type sender struct {
	key    signer.Key
	wallet *signer.Wallet
	url    string
	signed [][]byte // transactions that are still to be submitted
	sent   atomic.Int64
	fault  error // read when send has returned
}

func sentBy(senders []*sender) (n int64) {
	for _, one := range senders {
		n += one.sent.Load()
	}
	return n
}

func newSender(ctx context.Context, node *devnet.Node, url string) (*sender, error) {
	n := &sender{key: signer.NewKey(), url: url + "/v1/transactions"}
	var err error
	if n.wallet, err = signer.OpenWallet(ctx, signer.Options{Network: frame.Regtest, Keys: []signer.Key{n.key}}); err != nil {
		return nil, err
	}
	coin, err := node.Fund(ctx, n.key.KeyHash(), funds)
	if err != nil {
		return nil, err
	}
	_, err = n.wallet.Add(coin)
	return n, err
}

// send sends a message so often, until ctx ends or one is refused. What couldn't be
// sent in its time, while the node took up a block, is sent as soon as it can be.
func (n *sender) send(ctx context.Context, every time.Duration) {
	for due := time.Now(); len(n.signed) > 0; due = due.Add(every) {
		rest(ctx, time.Until(due))
		if ctx.Err() != nil {
			return
		}
		if n.fault = n.one(n.signed[0]); n.fault != nil {
			return
		}
		n.signed = n.signed[1:]
		n.sent.Add(1)
	}
}

// prepare signs messages, each in a transaction that spends the change of the one
// before.
func (n *sender) prepare(messages int) error {
	stamp := uint64(time.Now().UnixMilli()) //nolint:gosec // after 1970
	for i := range messages {
		m := &improtocol.Message{Source: n.key.Address(frame.Regtest), Type: improtocol.Text, Encryption: improtocol.Plain,
			Body: fmt.Appendf(nil, "message %d of a soak, %s", i+1, strings.Repeat("and so on ", 20))}
		m.SetTime(stamp + uint64(i)) //nolint:gosec // not negative
		m.Sign(n.key.Private())
		script, err := m.AppendScript(nil, frame.Pushes)
		if err != nil {
			return err
		}
		signed, err := n.wallet.Build(signer.Request{Script: script})
		if err != nil {
			return err
		}
		if err := n.wallet.Accept(signed.TxID); err != nil {
			return err
		}
		n.signed = append(n.signed, signed.Raw)
	}
	return nil
}

// one submits a transaction until the server has it.
func (n *sender) one(raw []byte) error {
	for {
		status, answer, err := submit(n.url, raw)
		switch {
		case err != nil:
			return err
		case status == http.StatusServiceUnavailable:
			time.Sleep(100 * time.Millisecond)
			continue
		case status/100 != 2:
			return fmt.Errorf("submit: %d %s", status, answer)
		}
		return nil
	}
}

var web = http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 1000}}

func submit(url string, raw []byte) (status int, answer []byte, err error) {
	resp, err := web.Post(url, "application/octet-stream", bytes.NewReader(raw))
	if err != nil {
		return 0, nil, err
	}
	answer, err = io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return resp.StatusCode, answer, errors.Join(err, resp.Body.Close())
}

// A reader reads the whole log and counts what is missing in it or comes twice.
type reader struct {
	socket    bool
	last      atomic.Int64 // seq of the last event
	lost      atomic.Int64
	doubled   atomic.Int64
	confirmed atomic.Int64 // messages
	err       atomic.Pointer[error]
}

func (r *reader) read(ctx context.Context, c *client.Client) {
	options := client.SubscribeOptions{From: "start"}
	events := c.Follow(ctx, nil, options)
	if r.socket {
		events = c.Subscribe(ctx, []client.Filter{{State: []string{"seen", "confirmed", "refused"}}, {Blocks: true}}, options)
	}
	for e, err := range events {
		var seq int64
		if err == nil {
			seq, err = seqOf(e.Cursor)
		}
		if err != nil {
			r.err.Store(&err)
			return
		}
		switch next := r.last.Load() + 1; {
		case seq < next:
			r.doubled.Add(1)
			continue
		case seq > next:
			r.lost.Add(seq - next)
		}
		r.last.Store(seq)
		if e.Kind == "message.confirmed" {
			r.confirmed.Add(1)
		}
	}
}

// seqOf knows what cursors are made of, which is nobody else's business.
func seqOf(cursor string) (int64, error) {
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return 0, err
	}
	number, _, _ := strings.Cut(strings.TrimPrefix(string(b), "e"), ":")
	return strconv.ParseInt(number, 10, 64)
}

// rest waits for a while, or until ctx ends.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
