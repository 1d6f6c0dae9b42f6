package api

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/metaim/metaim/api/client"
)

// A flood of addresses takes no more memory than the table has, and who asks all
// the time keeps what he has used.
func TestQuotasAreBounded(t *testing.T) {
	table := newQuotas()
	p := policyOf("default", client.Quota{Units: 100, Seconds: 1000})
	now := time.Unix(1_700_000_000, 0)
	steady := visitor{prefix: netip.MustParsePrefix("192.0.2.1/32")}
	used := 0
	for i := range 10 * quotaShards * quotaPerMember {
		var a [16]byte
		binary.BigEndian.PutUint64(a[:], uint64(i))
		table.of(visitor{prefix: prefixOf(netip.AddrFrom16(a))}, p)
		if i%1000 == 0 && used < 50 {
			used++
			table.of(steady, p).take(now, 1)
		} else if i%1000 == 0 {
			table.of(steady, p)
		}
	}
	if n, most := table.size(), 2*quotaShards*quotaPerMember; n > most {
		t.Errorf("visitors: got %d, want %d at most", n, most)
	}
	left, _, wait := table.of(steady, p).take(now, 50)
	if left != 0 || wait != 0 {
		t.Errorf("who asks all the time: got %d left and a wait of %v, want 0 left after the last 50", left, wait)
	}
	if _, _, wait = table.of(steady, p).take(now, 1); wait != 10*time.Second {
		t.Errorf("one more: got a wait of %v, want 10 s", wait)
	}
	if left, reset, wait := table.of(steady, p).take(now.Add(1000*time.Second), 1); left != 99 || reset != 10*time.Second || wait != 0 {
		t.Errorf("later: got %d left, all back in %v, wait %v, want 99, 10 s, none", left, reset, wait)
	}
}

// What a key was answered is forgotten in time, and with too many keys before.
func TestAnswersAreBounded(t *testing.T) {
	a := newAnswers()
	now := time.Unix(1_700_000_000, 0)
	keyOf := func(i int) (k idempotencyKey) {
		binary.BigEndian.PutUint64(k.key[:], uint64(i))
		return k
	}
	const n = 5 * answersKept
	for i := range n {
		if was, err := a.begin(keyOf(i), [32]byte{1}, now); was != nil || err != nil {
			t.Fatalf("key %d: got %v, %v, want a new one", i, was, err)
		}
		a.end(keyOf(i), &answered{body: [32]byte{1}}, now)
	}
	if got := len(a.young) + len(a.old); got > 2*answersKept || got < answersKept || len(a.running) != 0 {
		t.Errorf("kept: got %d and %d running, want %d to %d and none", got, len(a.running), answersKept, 2*answersKept)
	}
	for _, test := range []struct {
		name string
		key  int
		when time.Duration
		kept bool
	}{
		{"the last", n - 1, 0, true}, {"the first", 0, 0, false}, {"the last, within the hour", n - 1, answersLast - 1, true},
		{"the last, after two hours", n - 1, 3 * answersLast, false},
	} {
		if test.when > answersLast {
			a.age(now.Add(answersLast))
			a.age(now.Add(2 * answersLast))
		}
		was, err := a.begin(keyOf(test.key), [32]byte{1}, now.Add(test.when))
		if err != nil || (was != nil) != test.kept {
			t.Errorf("%s: got %v, %v, want kept %v", test.name, was, err, test.kept)
		}
		if was == nil {
			a.end(keyOf(test.key), nil, now)
		}
	}
}
