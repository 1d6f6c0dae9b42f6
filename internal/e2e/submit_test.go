package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/libsv/go-bt/v2"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/devnet"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/testarc"
	"github.com/metaim/metaim/internal/testnode"
	"github.com/metaim/metaim/signer"
	"github.com/metaim/metaim/signer/broadcast"
)

// submitting returns the flags for a server that follows a node and submits by
// other ways.
func submitting(n *devnet.Node, ways ...string) []string {
	flags := []string{"--source", "p2p:" + n.Connection().P2P}
	for _, w := range ways {
		flags = append(flags, "--submit", w)
	}
	return flags
}

// payment signs a transaction that has an extended form.
func (a *author) payment(satoshis uint64) *signer.Signed {
	a.t.Helper()
	signed, err := a.wallet.Build(signer.Request{Pay: []signer.Output{{KeyHash: signer.NewKey().KeyHash(), Satoshis: satoshis}}})
	if err != nil {
		a.t.Fatal(err)
	}
	if err := a.wallet.Accept(signed.TxID); err != nil {
		a.t.Fatal(err)
	}
	return signed
}

// TestSubmitOutcomes: whatever a service does, the user of a real server is told
// what is so: the transaction is accepted, refused for good, or undecided.
func TestSubmitOutcomes(t *testing.T) {
	t.Parallel()
	node := testnode.Start(t)
	const accepted = ""
	refused, double, undecided := client.CodeRefused, client.CodeDoubleSpend, client.CodeUnavailable
	type b = testarc.Behaviour
	busy := b{Status: 503, RetryAfter: "3600"}
	tests := []struct {
		name   string
		does   testarc.Behaviour
		arc    string // the code that the user gets through ARC; empty: it is accepted
		arcade string
		mapi   string
	}{
		{"all is right", b{}, accepted, accepted, accepted},
		{"accepts and drops", b{Fault: testarc.Drop}, accepted, accepted, accepted},
		{"double spend", b{State: broadcast.StateDoubleSpend, Keep: true, Competing: []string{strings.Repeat("ab", 32)}}, double, double, double},
		{"rejected", b{State: broadcast.StateRejected, Keep: true, Info: "dust"}, refused, refused, refused},
		{"rejected in safe mode", b{State: broadcast.StateRejected, Keep: true, Info: "Safe mode"}, undecided, undecided, undecided},
		{"mined", b{State: broadcast.StateMined}, accepted, accepted, ""},
		{"stale", b{State: broadcast.StateStale}, accepted, accepted, ""},
		{"accepted", b{State: broadcast.StateAccepted}, accepted, accepted, ""},
		{"stored, then seen", b{State: broadcast.StateStored, Later: broadcast.StateSeen}, accepted, accepted, ""},
		{"another transaction", b{Fault: testarc.WrongTxID}, undecided, undecided, undecided},
		{"down", b{Fault: testarc.Down}, undecided, undecided, undecided},
		{"takes it and dies", b{Fault: testarc.TakesDies}, undecided, undecided, undecided},
		{"10 MB", b{Fault: testarc.Big}, undecided, undecided, undecided},
		{"a page", b{Fault: testarc.HTML}, undecided, undecided, undecided},
		{"a page as a refusal", b{Fault: testarc.Forbidding}, undecided, undecided, undecided},
		{"garbage", b{Fault: testarc.Garbage}, undecided, undecided, undecided},
		{"busy", busy, undecided, undecided, undecided},
	}
	for _, status := range []int{401, 403, 404, 409, 429, 500, 502} {
		tests = append(tests, struct {
			name              string
			does              testarc.Behaviour
			arc, arcade, mapi string
		}{fmt.Sprint("status ", status), b{Status: status}, undecided, undecided, undecided})
	}
	for _, status := range []int{400, 422, 460, 461, 462, 463, 464, 465, 467, 468, 469, 471, 472, 473, 474, 475} {
		tests = append(tests, struct {
			name              string
			does              testarc.Behaviour
			arc, arcade, mapi string
		}{fmt.Sprint("status ", status), b{Status: status}, refused, refused, undecided})
	}
	for _, kind := range []string{"arc", "arcade", "mapi"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			service := testarc.New(t, node.RPC())
			s := serve(t, submitting(node, kind+":"+service.URL())...)
			alice := newAuthor(t)
			alice.fund(node)
			for _, tt := range tests {
				want := map[string]string{"arc": tt.arc, "arcade": tt.arcade, "mapi": tt.mapi}[kind]
				if kind == "mapi" && want == "" && tt.does.State != "" {
					continue // states that mAPI doesn't have
				}
				signed := alice.payment(1000)
				service.Behave(tt.does)
				_, err := s.client.Submit(within(t), signed.Extended)
				checkCode(t, tt.name, err, want)
				service.Behave(testarc.Behaviour{})
				for _, form := range [][]byte{signed.Extended, signed.Extended} { // once nothing is wrong, and once more
					if _, err := s.client.Submit(within(t), form); err != nil {
						t.Errorf("%s: when all is right again: %v", tt.name, err)
					}
				}
				if !service.Has(signed.TxID) {
					t.Errorf("%s: the service doesn't have the transaction at the end", tt.name)
				}
			}
		})
	}
}

func checkCode(t *testing.T, name string, err error, want string) {
	t.Helper()
	got := ""
	var p *client.Problem
	if errors.As(err, &p) {
		got = p.Code
		if p.Retryable != (got == client.CodeUnavailable) {
			t.Errorf("%s: retryable is %t of %s", name, p.Retryable, got)
		}
	} else if err != nil {
		got = err.Error()
	}
	if got != want {
		t.Errorf("%s: got %q (%v), want %q", name, got, err, want)
	}
}

// TestSubmitForms: Arcade gets the extended format whichever form has it, and is
// not handed anything else.
func TestSubmitForms(t *testing.T) {
	t.Parallel()
	node := testnode.Start(t)
	service := testarc.New(t, node.RPC())
	s := serve(t, submitting(node, "arcade:"+service.URL())...)
	alice := newAuthor(t)
	coin := alice.fund(node)
	signed := alice.payment(1000)
	_, err := s.client.Submit(within(t), signed.Raw)
	checkCode(t, "raw", err, client.CodeRefused)
	if asked := service.Asked("/tx"); len(asked) > 0 {
		t.Errorf("the service was handed %d transactions, want none", len(asked))
	}
	_, err = s.client.Submit(within(t), signed.Extended[:len(signed.Extended)-1])
	checkCode(t, "extended, cut short", err, "bad_transaction")
	beef := append([]byte{1, 0, 0xbe, 0xef, 1, 7, 1, 1, 0, 2}, make([]byte, 32)...)
	beef = append(append(append(beef, 2), coin...), 1, 0)
	beef = append(append(beef, signed.Raw...), 0)
	done, err := s.client.Submit(within(t), beef)
	if err != nil || done.TxID != signed.TxID.String() {
		t.Fatalf("BEEF: got %v, %v, want %s", done, err, signed.TxID)
	}
	if asked := service.Asked("/tx"); len(asked) != 1 || !bytes.Equal(asked[0].Body, signed.Extended) {
		t.Errorf("the service was handed %v, want the extended form", asked)
	}
	if info := s.info(); !info.Extended {
		t.Error("the server doesn't say that it wants the extended format")
	}
}

// TestSubmitSeveral: of two services and a node one is enough, and the others get
// the transaction too.
func TestSubmitSeveral(t *testing.T) {
	t.Parallel()
	node := testnode.Start(t)
	one, two := testarc.New(t, node.RPC()), testarc.New(t, node.RPC())
	s := serve(t, append(submitting(node, "node", "arc:"+one.URL(), "arcade:"+two.URL()),
		"--node-rpc", strings.Replace(node.Connection().RPC, "://", "://"+node.Connection().RPCUser+":"+node.Connection().RPCPassword+"@", 1))...)
	alice := newAuthor(t)
	alice.fund(node)
	for _, tt := range []struct {
		name     string
		one, two testarc.Behaviour
	}{
		{"all accept", testarc.Behaviour{}, testarc.Behaviour{}},
		{"two refuse", testarc.Behaviour{Status: 465}, testarc.Behaviour{Status: 461}},
		{"two are slow", testarc.Behaviour{Fault: testarc.Slow}, testarc.Behaviour{Fault: testarc.Slow}},
		{"two lie", testarc.Behaviour{Fault: testarc.WrongTxID}, testarc.Behaviour{Fault: testarc.Big}},
	} {
		one.Behave(tt.one)
		two.Behave(tt.two)
		signed := alice.payment(1000)
		if _, err := s.client.Submit(within(t), signed.Extended); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if tt.name == "all accept" {
			await(t, func() string {
				if one.Has(signed.TxID) && two.Has(signed.TxID) {
					return ""
				}
				return "both services have the transaction too"
			})
		}
	}
}

// TestSubmitFee: the server tells the fee that its service asks for, and never one
// that can't be.
func TestSubmitFee(t *testing.T) {
	t.Parallel()
	node := testnode.Start(t)
	for _, tt := range []struct {
		name string
		does testarc.Behaviour
		want client.Fee
	}{
		{"as the policy says", testarc.Behaviour{Fee: &[2]int64{250, 1000}}, client.Fee{Satoshis: 250, Bytes: 1000}},
		{"zero", testarc.Behaviour{Fee: &[2]int64{0, 0}}, client.Fee{Satoshis: 100, Bytes: 1000}},
		{"negative", testarc.Behaviour{Fee: &[2]int64{-1, 1000}}, client.Fee{Satoshis: 100, Bytes: 1000}},
		{"down", testarc.Behaviour{Fault: testarc.Down}, client.Fee{Satoshis: 100, Bytes: 1000}},
	} {
		service := testarc.New(t, node.RPC())
		service.Behave(tt.does)
		s := serve(t, submitting(node, "arc:"+service.URL())...)
		await(t, func() string {
			if len(service.Asked("/policy")) > 0 {
				return ""
			}
			return tt.name + ": the policy is asked for"
		})
		await(t, func() string {
			if fee := s.info().Fee; fee != nil && *fee == tt.want {
				return ""
			}
			return fmt.Sprintf("%s: the fee is %v", tt.name, tt.want)
		})
		service.Behave(testarc.Behaviour{})
		checkPaid(t, node, service, s, tt.want)
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	}
}

// checkPaid sends a message and checks that its transaction pays the fee that the
// server tells, and at most a satoshi more for each signature's length.
func checkPaid(t *testing.T, node *devnet.Node, service *testarc.Server, s *server, want client.Fee) {
	t.Helper()
	h, to := newHousehold(t, s, "alice", "bob")
	hash, err := frame.Regtest.ParseAddress(to[0])
	if err != nil {
		t.Fatal(err)
	}
	receive := h.command("key", "receive")
	receive.Stdin = strings.NewReader(fmt.Sprintf("%x", testnode.Fund(t, node, hash, 1_000_000)))
	if out, err := receive.CombinedOutput(); err != nil {
		t.Fatalf("receive: %v\n%s", err, out)
	}
	h.run("send", "--from", "alice", "--to", to[1], strings.Repeat("a message of some length ", 40))
	asked := service.Asked("/v1/tx")
	extended := asked[len(asked)-1].Body
	tx, err := bt.NewTxFromBytes(extended)
	if err != nil {
		t.Fatal(err)
	}
	form, err := broadcast.Read(extended)
	if err != nil {
		t.Fatal(err)
	}
	fee := tx.TotalInputSatoshis() - tx.TotalOutputSatoshis()
	least := signer.FeeRate{Satoshis: want.Satoshis, Bytes: want.Bytes}.Fee(len(form.Raw))
	if fee < least || fee > least+2 {
		t.Errorf("a message of %d bytes paid %d satoshis, want %d", len(form.Raw), fee, least)
	}
}

// TestCallback: the server hears from its service with the token that it gave it,
// and from nobody else.
func TestCallback(t *testing.T) {
	t.Parallel()
	node := testnode.Start(t)
	service := testarc.New(t, node.RPC())
	s := serve(t, append(submitting(node, "arc:"+service.URL()), "--callback-url", "https://im.example.org")...)
	alice := newAuthor(t)
	alice.fund(node)
	signed := alice.payment(1000)
	if _, err := s.client.Submit(within(t), signed.Extended); err != nil {
		t.Fatal(err)
	}
	asked := service.Asked("/v1/tx")
	if got := asked[0].Header.Get("X-CallbackUrl"); got != "https://im.example.org/v1/callbacks/arc" {
		t.Fatalf("callback: got %q", got)
	}
	token := asked[0].Header.Get("X-CallbackToken")
	testnode.Mine(t, node, 1)
	right := `{"txid":"` + signed.TxID.String() + `","txStatus":"MINED","blockHeight":111,"extraInfo":null}`
	for _, tt := range []struct {
		name, authorization, body string
		want                      int
	}{
		{"no token", "", right, 401},
		{"another token", "Bearer " + strings.Repeat("A", len(token)), right, 401},
		{"token without its scheme", token, right, 401},
		{"no JSON", "Bearer " + token, "MINED", 400},
		{"no id", "Bearer " + token, `{"txStatus":"MINED"}`, 400},
		{"unknown state", "Bearer " + token, strings.Replace(right, "MINED", "LOST", 1), 400},
		{"too long", "Bearer " + token, right + strings.Repeat(" ", 100_000), 413},
		{"of a transaction that isn't followed", "Bearer " + token, strings.Replace(right, signed.TxID.String(), strings.Repeat("ab", 32), 1), 200},
		{"right", "Bearer " + token, right, 200},
	} {
		req, err := http.NewRequestWithContext(within(t), http.MethodPost, s.url+"/v1/callbacks/arc", strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if tt.authorization != "" {
			req.Header.Set("Authorization", tt.authorization)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.NewDecoder(resp.Body).Decode(new(any)); err != nil {
			t.Errorf("%s: the answer is no JSON: %v", tt.name, err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, resp.StatusCode, tt.want)
		}
	}
	await(t, func() string { // long before it would ask by itself
		if len(service.Asked("/v1/tx/"+signed.TxID.String())) > 0 {
			return ""
		}
		return "the server looks after the transaction"
	})
	off := serve(t, submitting(node, "arc:"+service.URL())...)
	resp, err := http.Post(off.url+"/v1/callbacks/arc", "application/json", strings.NewReader(right))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("where it isn't configured: got %d, want 404", resp.StatusCode)
	}
}

// TestKilledSubmission: a submission that SIGKILL interrupts, of the server or of
// the sender, before or after the service has it, is sent by the next command: the
// message arrives once and is paid once.
func TestKilledSubmission(t *testing.T) {
	t.Parallel()
	node := testnode.Start(t)
	for _, tt := range []struct {
		name   string
		does   testarc.Behaviour
		sender bool // is killed; else the server
	}{
		{"server, before the service has it", testarc.Behaviour{Fault: testarc.Slow}, false},
		{"server, when the network has it", testarc.Behaviour{State: broadcast.StateStored}, false},
		{"sender, before the service has it", testarc.Behaviour{Fault: testarc.Slow}, true},
		{"sender, when the network has it", testarc.Behaviour{State: broadcast.StateStored}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			service := testarc.New(t, node.RPC())
			s := serveOn(t, "sqlite:"+filepath.Join(t.TempDir(), "index.db"), submitting(node, "arcade:"+service.URL())...)
			h, to := newHousehold(t, s, "alice", "bob")
			hash, err := frame.Regtest.ParseAddress(to[0])
			if err != nil {
				t.Fatal(err)
			}
			coin := testnode.Fund(t, node, hash, 1_000_000)
			testnode.Mine(t, node, 1)
			s.awaitTip(node)
			receive := h.command("key", "receive")
			receive.Stdin = strings.NewReader(fmt.Sprintf("%x\n", coin))
			if out, err := receive.CombinedOutput(); err != nil {
				t.Fatalf("receive: %v\n%s", err, out)
			}
			service.Behave(tt.does)
			sending := start(t, h.command("send", "--from", "alice", "--to", to[1], "first"))
			await(t, func() string {
				if len(service.Asked("/tx")) > 0 {
					return ""
				}
				return "the service is handed the transaction"
			})
			if tt.sender {
				sending.kill()
			} else {
				s.kill()
				await(t, func() string {
					if sending.running() {
						return "the sender ends"
					}
					return ""
				})
				s.start()
			}
			service.Behave(testarc.Behaviour{})
			h.env = append(h.env, "METAIM_SERVER="+s.url)
			h.run("send", "--from", "alice", "--to", to[1], "second")
			testnode.Mine(t, node, 1)
			s.awaitTip(node)
			page, err := s.client.Messages(within(t), client.MessageQuery{Address: to[1], Limit: 10, Oldest: true})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, m := range page.Items {
				got = append(got, fmt.Sprintf("%s %s in %d", m.State, m.Body, m.Height))
			}
			if len(got) != 2 || !strings.HasPrefix(got[0], "confirmed first") || !strings.HasPrefix(got[1], "confirmed second") {
				t.Errorf("messages: got %q, want the first and the second, each once and confirmed", got)
			}
			ids := map[string]bool{}
			for _, r := range service.Asked("/tx") {
				tx, err := broadcast.Read(r.Body)
				if err != nil {
					t.Fatal(err)
				}
				ids[tx.ID.String()] = true
			}
			if len(ids) != 2 {
				t.Errorf("%d transactions were handed in for two messages, want 2", len(ids))
			}
		})
	}
}
