package e2e

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/devnet"
	"github.com/metaim/metaim/internal/testnode"
	"github.com/metaim/metaim/proof"
)

// A verifier is somebody with a file of headers, who fetches proofs with the
// program and checks them without the server.
type verifier struct {
	t       testing.TB
	folder  string
	server  *server
	headers string
}

// run runs a command of the program, and returns both outputs.
func (v *verifier) run(args ...string) (string, error) {
	v.t.Helper()
	cmd := metaim(v.t, args...)
	cmd.Dir = v.folder
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (v *verifier) must(args ...string) string {
	v.t.Helper()
	out, err := v.run(args...)
	if err != nil {
		v.t.Fatalf("metaim %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// update brings the file of headers up to date.
func (v *verifier) update() (replaced int32) {
	v.t.Helper()
	var w struct{ Removed int32 }
	out := v.must("proof", "headers", "--server", v.server.url, "-o", v.headers, "--json")
	if err := json.Unmarshal([]byte(out), &w); err != nil {
		v.t.Fatalf("%v in %s", err, out)
	}
	return w.Removed
}

// verify checks a file that was fetched.
func (v *verifier) verify(file string) (*proof.Result, string, error) {
	v.t.Helper()
	out, err := v.run("proof", "verify", file, "--headers", v.headers, "--json")
	if err != nil {
		return nil, out, err
	}
	r := &proof.Result{}
	if err := json.Unmarshal([]byte(out), r); err != nil {
		v.t.Fatalf("%v in %s", err, out)
	}
	return r, out, nil
}

// TestProofFollows: the proof of a message goes with it through two
// reorganisations: what was proved of a block that left the chain proves nothing
// more, and the message is proved where it is now.
func TestProofFollows(t *testing.T) {
	t.Parallel()
	alice, bob := newAuthor(t), newAuthor(t)
	var first signedFrame
	fork := testnode.Competing(t, 1, 2, func(a, b *devnet.Node) {
		coin := alice.fund(a)
		submit(t, coin, b)
		first = alice.message("", "on both branches", bob.hash())
		submit(t, first.raw, a)
		submit(t, first.raw, b)
	})
	s := serve(t, following(fork.A)...)
	s.awaitTip(fork.A)
	folder := t.TempDir()
	v := &verifier{t, folder, s, filepath.Join(folder, "headers")}
	v.update()
	check := func(when, file string, m signedFrame) *proof.Result {
		t.Helper()
		v.must("proof", "fetch", m.id.String(), "--server", s.url, "-o", file)
		r, out, err := v.verify(file)
		if err != nil {
			t.Fatalf("%s: %v: %s", when, err, out)
		}
		told, err := s.client.Message(within(t), m.id.String())
		if err != nil {
			t.Fatal(err)
		}
		if r.ID != m.id.String() || r.Block != told.Block || r.Height != told.Height || r.Address != alice.address() {
			t.Errorf("%s: proved is %+v, want block %d %s", when, r, told.Height, told.Block)
		}
		return r
	}
	before := check("before", "1", first)

	second := alice.message("", "seen only", bob.hash())
	submit(t, second.raw, fork.A)
	await(t, func() string {
		if _, err := s.client.Message(within(t), second.id.String()); err != nil {
			return "the message is in the index: " + err.Error()
		}
		return ""
	})
	var refused *client.Problem
	if _, err := s.client.Proof(within(t), second.id.String()); !errors.As(err, &refused) || refused.Code != client.CodeNotConfirmed || refused.Status != 404 {
		t.Errorf("the proof of an unconfirmed message: %v, want the code %s", err, client.CodeNotConfirmed)
	}

	fork.Join(t)
	s.awaitTip(fork.A)
	if replaced := v.update(); replaced != 1 {
		t.Errorf("%d headers replaced, want 1", replaced)
	}
	if _, out, err := v.verify("1"); err == nil || !strings.Contains(out, "fetch the proof again") {
		t.Errorf("the proof of a block that has left the chain: %v: %s", err, out)
	}
	after := check("after a reorganisation", "2", first)
	if after.Block == before.Block {
		t.Errorf("the message is still proved to be in %s", before.Block)
	}

	testnode.Disconnect(t, fork.A, fork.B)
	testnode.Mine(t, fork.A, 1)
	s.awaitTip(fork.A)
	v.update()
	check("in a block of its own", "3", second)
	testnode.Mine(t, fork.B, 2)
	testnode.Connect(t, fork.A, fork.B)
	testnode.AwaitSameTip(t, fork.A, fork.B)
	s.awaitTip(fork.A)
	v.update()
	if _, out, err := v.verify("3"); err == nil {
		t.Errorf("the proof of a block of the second branch that left: no error: %s", out)
	}
	check("a message that both branches have", "4", first)
	if _, err := s.client.Proof(within(t), second.id.String()); !errors.As(err, &refused) || refused.Code != client.CodeNotConfirmed {
		t.Errorf("the proof of a message off the chain: %v, want the code %s", err, client.CodeNotConfirmed)
	}
	await(t, func() string {
		waiting, err := fork.A.RPC().GetRawMempool(within(t))
		if err != nil {
			t.Fatal(err)
		}
		if len(waiting) == 0 {
			return "the transaction is back in the node's mempool; there is none"
		}
		return ""
	})
	testnode.Mine(t, fork.A, 1)
	s.awaitTip(fork.A)
	v.update()
	check("in a block again", "5", second)
}
