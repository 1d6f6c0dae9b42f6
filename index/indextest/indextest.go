// Package indextest says what every store of an index must do alike: a suite
// that the tests of each store run.
package indextest

import (
	"testing"

	"github.com/metaim/metaim/index"
)

// Run runs the suite. open opens the database of the test it is given, empty the
// first time; called again with the same test, after the store was closed, it
// opens the same database.
func Run(t *testing.T, open func(t *testing.T) index.Store) {
	cases := []struct {
		name string
		run  func(b bench, reopen func() bench)
	}{
		{"an empty index", emptyIndex},
		{"blocks are appended and cut", blocks},
		{"every kind of frame comes back as it was", roundTrip},
		{"odd texts survive", oddTexts},
		{"the ends of all numbers survive", numbers},
		{"a transaction moves from seen to confirmed to seen to dropped", moves},
		{"a dropped transaction comes back", comesBack},
		{"judging again needs no bodies but under DER", judging},
		{"one transaction twice in the chain", twice},
		{"lookup takes unconfirmed before confirmed", lookupOrder},
		{"what a save refuses", refusedSaves},
		{"facts are confirmed and valid", facts},
		{"facts of time stamps", factsOfTime},
		{"facts of names and peers", factsOfRecords},
		{"facts of keys", factsOfKeys},
		{"facts in large numbers", manyFacts},
		{"names and peers are put, replaced and deleted", records},
		{"valid records in canonical order", validRecords},
		{"confirmed frames in canonical order", canonical},
		{"frames of a name", nameEntries},
		{"verdicts are counted", counts},
		{"messages of an address", byAddress},
		{"conversations of two", conversations},
		{"copies don't repeat a message", copies},
		{"a copy that comes first hides nothing from a conversation", copyFirst},
		{"pages", pages},
		{"entries as a naive reader lists them", naive},
		{"words, conversations, coins and keys as a naive reader finds them", found},
		{"limits are checked", limits},
		{"proofs of blocks of every shape", proofsOfBlocks},
		{"proofs in reorganisations of several depths", proofsTurn},
		{"the proof of a transaction that is in two blocks", proofsTwice},
		{"what has no proof", proofsMissing},
		{"events are read after a cursor", events},
		{"events of addresses", eventsOfAddresses},
		{"events of an address among many", eventsAmongMany},
		{"a failed update leaves nothing", failedUpdate},
		{"a panic leaves nothing", panics},
		{"an ended context leaves nothing", endedContext},
		{"a failed write can't be committed", failedWrite},
		{"an update reads what it wrote", readsOwn},
		{"a view is one snapshot", snapshot},
		{"readers beside a writer see whole blocks", concurrent},
		{"a view that is given up leaves no old snapshot behind", givenUp},
		{"a closed store", closed},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := bench{t, open(t)}
			t.Cleanup(func() {
				if err := b.store.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			c.run(b, func() bench {
				if err := b.store.Close(); err != nil {
					t.Fatalf("close: %v", err)
				}
				b.store = open(t)
				return b
			})
		})
	}
}
