package simulate

import (
	"fmt"
	"maps"
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// compareTalks compares the conversations of everybody, and what they find of a
// word, with all messages that count.
func compareTalks(v index.View, h history) error {
	for _, p := range people {
		want := talksOf(h, p.Hash)
		got := map[frame.KeyHash]int64{}
		list, err := v.Conversations(index.ConversationQuery{Address: p.Hash, Limit: 1_000})
		if err != nil {
			return err
		}
		for _, c := range list {
			got[c.Peer] = c.Sent + c.Received
		}
		if !maps.Equal(got, want) {
			return fmt.Errorf("conversations of %s: %v, want %v", addressText(&p.Hash), got, want)
		}
		if err := compareWords(v, h, p.Hash); err != nil {
			return err
		}
	}
	return nil
}

// counts tells whether a frame is a message that lists show.
func (j *judged) counts() bool {
	return j.frame.message != nil && (j.verdict == frame.Valid || j.verdict == frame.Duplicate)
}

// talksOf counts the messages by whom an address exchanged them with.
func talksOf(h history, address frame.KeyHash) map[frame.KeyHash]int64 {
	ids := map[frame.KeyHash]map[frame.ID]bool{}
	add := func(peer frame.KeyHash, id frame.ID) {
		if ids[peer] == nil {
			ids[peer] = map[frame.ID]bool{}
		}
		ids[peer][id] = true
	}
	for _, j := range h {
		if !j.counts() || j.address == nil {
			continue
		}
		to := j.recipients()
		if *j.address != address {
			if slices.Contains(to, address) {
				add(*j.address, j.id)
			}
			continue
		}
		if len(to) == 0 {
			add(address, j.id)
		}
		for _, peer := range to {
			add(peer, j.id)
		}
	}
	talks := map[frame.KeyHash]int64{}
	for peer, list := range ids {
		talks[peer] = int64(len(list))
	}
	return talks
}

// compareWords searches for the first word of a message of the address.
func compareWords(v index.View, h history, address frame.KeyHash) error {
	concerns := func(j *judged) bool {
		return j.counts() && (j.address != nil && *j.address == address || slices.Contains(j.recipients(), address))
	}
	at := slices.IndexFunc(h, func(j *judged) bool {
		return concerns(j) && index.Searchable(j.frame.message) && len(index.WordsOf(j.frame.message)) > 0
	})
	if at < 0 {
		return nil
	}
	words := index.WordsOf(h[at].frame.message)[:1]
	want := map[frame.ID]bool{}
	for _, j := range h {
		if concerns(j) && index.HasWords(j.frame.message, words) {
			want[j.id] = true
		}
	}
	found, err := v.Entries(index.EntryQuery{Address: &address, Words: words, Limit: 1_000})
	if err != nil {
		return err
	}
	got := map[frame.ID]bool{}
	for _, e := range found {
		got[e.ID] = true
	}
	if !maps.Equal(got, want) || len(found) != len(got) {
		return fmt.Errorf("%q of %s: %d messages of %d ids, want %d", words, addressText(&address), len(found), len(got), len(want))
	}
	return nil
}
