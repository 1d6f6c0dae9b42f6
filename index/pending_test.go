package index_test

import (
	"testing"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/nprotocol"
)

// TestPending: unconfirmed frames are judged after those seen before them, and
// change no resolution of a name.
func TestPending(t *testing.T) {
	type step struct {
		what  string
		frame *index.Frame
		want  frame.Verdict
	}
	a := network.Address(alice.KeyHash())
	for _, c := range []struct {
		name      string
		confirmed []*index.Frame
		steps     []step
	}{
		{"a name that is registered but not confirmed resolves nothing", nil, []step{
			{"register", register("n", alice, "1", compact(alice)), frame.Valid},
			{"a message from it", text("n", "x", "", "1", compact(alice)), frame.UnknownName},
			{"another's registration loses to the pending one", register("n", bob, "1", compact(bob)), frame.Taken},
			{"a renewal", register("n", alice, "2", compact(alice)), frame.Valid},
			{"a stale one", register("n", alice, "2", compact(alice)), frame.Duplicate},
			{"a stale delete", remove("n", alice, "2", compact(alice)), frame.StaleTimeStamp},
		}},
		{"a transfer that isn't confirmed leaves the name where it is", []*index.Frame{register("n", alice, "1", compact(alice))}, []step{
			{"transfer", transfer("n", alice, bob, "2", compact(alice), compact(bob)), frame.Valid},
			{"from the old holder", text("n", "x", "", "1", compact(alice)), frame.Valid},
			{"from the new holder", text("n", "y", "", "1", compact(bob)), frame.BadSignature},
			{"the new holder passes it on", transfer("n", bob, carol, "1", compact(bob), compact(carol)), frame.Valid},
			{"the old holder can't any more", remove("n", alice, "3", compact(alice)), frame.NotHolder},
		}},
		{"a delete that isn't confirmed", []*index.Frame{register("n", alice, "1", compact(alice))}, []step{
			{"delete", remove("n", alice, "2", compact(alice)), frame.Valid},
			{"the name still resolves", text("n", "x", "", "1", compact(alice)), frame.Valid},
			{"and is free for what is seen later", register("n", bob, "1", compact(bob)), frame.Valid},
		}},
		{"messages are judged against pending ones", nil, []step{
			{"first seen", text(a, "x", "", "5", compact(alice)), frame.Valid},
			{"its copy", text(a, "x", "", "5", compact(alice)), frame.Duplicate},
			{"an older one", text(a, "x", "", "4", compact(alice)), frame.StaleTimeStamp},
			{"signed in DER: the key was proved", text(a, "y", "", "5", der(alice)), frame.Valid},
		}},
		{"peers", nil, []step{
			{"register", peer(nprotocol.Register, alice, "::1", "1", compact(alice)), frame.Valid},
			{"delete", peer(nprotocol.Delete, alice, "::1", "2", compact(alice)), frame.Valid},
			{"delete again", peer(nprotocol.Delete, alice, "::1", "3", compact(alice)), frame.NotHolder},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			court := newCourt(t)
			court.given(c.confirmed...)
			before := len(court.facts.Ledger.TimeStamps)
			court.facts.Fork()
			for _, s := range c.steps {
				if got := court.judge(paid(s.frame)); got.Verdict != s.want {
					t.Errorf("%s: got %s, want %s", s.what, got.Verdict, s.want)
				}
			}
			if got := len(court.facts.Ledger.TimeStamps); got != before {
				t.Errorf("the confirmed ledger has %d time stamps, want %d as before", got, before)
			}
		})
	}
}
