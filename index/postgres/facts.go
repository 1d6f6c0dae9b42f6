package postgres

import (
	"crypto/sha256"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/rows"
	"github.com/metaim/metaim/nprotocol"
)

// key is what a name or IP is found by in the tables of names and peers.
func key(text string) []byte {
	h := sha256.Sum256([]byte(text))
	return h[:]
}

// An inquiry is one call of Facts under way.
type inquiry struct {
	v         *view
	facts     *index.Facts
	questions []question
	again     []func() error // where another thing of the same key was found: all of the key are to be looked at
}

// Facts implements [index.View]: nothing is kept but the frames themselves, so
// taking a block away takes its facts away. All is asked in one round trip, but
// where two things have one key.
func (v *view) Facts(need index.Need) (*index.Facts, error) { return v.factsBeside(need) }

// Facts implements [index.View]. It asks for all frames of the ids needed, not the
// valid ones only: Save wants to know which ids were met before.
func (t *tx) Facts(need index.Need) (*index.Facts, error) {
	if len(need.FrameIDs) == 0 {
		return t.factsBeside(need)
	}
	keys := make([]int64, len(need.FrameIDs))
	if t.met == nil {
		t.met = make(map[int64]bool, len(keys))
	}
	for i, id := range need.FrameIDs {
		keys[i] = rows.KeyOf(id)
		t.met[keys[i]] = false
	}
	facts, err := t.factsBeside(need, question{otherIDs, []any{keys}, func(r *row) error {
		t.met[r.integer()] = true
		return nil
	}})
	if err != nil {
		t.met = nil
		return nil, err
	}
	for id := range facts.Valid {
		t.met[rows.KeyOf(id)] = true
	}
	return facts, nil
}

// factsBeside asks for facts and more.
func (v *view) factsBeside(need index.Need, more ...question) (*index.Facts, error) {
	n := &inquiry{v: v, facts: index.NewFacts(), questions: more}
	n.frames(need.FrameIDs)
	n.contents(need.ContentIDs)
	n.names(need.Names)
	n.peers(need.Peers)
	n.subjects(need.Subjects)
	n.keys(need.Keys)
	if len(n.questions) == 0 {
		return n.facts, nil
	}
	if err := v.ask(n.questions...); err != nil {
		return nil, err
	}
	for _, look := range n.again {
		if err := look(); err != nil {
			return nil, err
		}
	}
	return n.facts, nil
}

func (n *inquiry) ask(query string, args []any, scan func(*row) error) {
	n.questions = append(n.questions, question{query, args, scan})
}

func (n *inquiry) frames(ids []frame.ID) {
	if len(ids) == 0 {
		return
	}
	asked := make(map[frame.ID]bool, len(ids))
	keys := make([]int64, len(ids))
	for i, id := range ids {
		asked[id], keys[i] = true, rows.KeyOf(id)
	}
	n.ask(bare+`FROM frames f WHERE f.frame_key = ANY ($1::bigint[]) AND `+isFactOfID, []any{keys}, func(r *row) error {
		f, err := scanRow(r)
		if err == nil && asked[f.ID] {
			n.facts.Valid[f.ID] = true
		}
		return err
	})
}

// What the last of a key is sought by, for each item by itself: one look at the
// end of its part of an index, however many there are.
const (
	isContent    = `f.content_key <> 0 AND ` + isFact
	lastContents = `SELECT need.n, f.* FROM unnest($1::bigint[]) WITH ORDINALITY AS need (key, n) CROSS JOIN LATERAL (
		` + bare + `FROM frames f WHERE f.content_key = need.key AND ` + isContent + ` ORDER BY f.time_order DESC LIMIT 1) f`
	allContents = bare + `FROM frames f WHERE f.content_key = $1 AND ` + isContent
)

// A top is the largest time stamp of a content or subject, as far as it was read.
type top struct {
	time  uint64
	found bool
}

func (t *top) add(f *rows.Found) (isTime bool) {
	n, err := frame.ParseTimeStamp(f.TimeStamp())
	if err == nil && (!t.found || n > t.time) {
		t.time, t.found = n, true
	}
	return err == nil
}

// last asks for the largest time stamp of each key. same tells whether a frame is
// of the n-th thing; set is given the answer.
func (n *inquiry) last(keys []int64, same func(i int, f *rows.Found) bool, set func(i int, time uint64)) {
	n.ask(lastContents, []any{keys}, func(r *row) error {
		i := r.integer() - 1
		f, err := scanRow(r)
		if err != nil {
			return err
		}
		var t top
		if i < 0 || i >= int64(len(keys)) {
			r.fault("frames.content_key")
		} else if same(int(i), f) && t.add(f) {
			set(int(i), t.time)
		} else {
			n.again = append(n.again, func() error { return n.lastOf(keys[i], int(i), same, set) })
		}
		return nil
	})
}

func (n *inquiry) lastOf(key int64, i int, same func(i int, f *rows.Found) bool, set func(i int, time uint64)) error {
	var t top
	err := n.v.each(allContents, []any{key}, func(r *row) error {
		f, err := scanRow(r)
		if err == nil && same(i, f) {
			t.add(f)
		}
		return err
	})
	if t.found {
		set(i, t.time)
	}
	return err
}

func (n *inquiry) contents(ids []frame.ID) {
	if len(ids) == 0 {
		return
	}
	keys := make([]int64, len(ids))
	for i, id := range ids {
		keys[i] = rows.KeyOf(id)
	}
	n.last(keys, func(i int, f *rows.Found) bool { return f.Message != nil && f.ContentID == ids[i] },
		func(i int, time uint64) { n.facts.Contents[ids[i]] = time })
}

func (n *inquiry) subjects(subjects []nprotocol.Subject) {
	if len(subjects) == 0 {
		return
	}
	keys := make([]int64, len(subjects))
	for i, s := range subjects {
		keys[i] = rows.SubjectKey(s)
	}
	n.last(keys, func(i int, f *rows.Found) bool { return f.Record != nil && f.Record.Subject() == subjects[i] },
		func(i int, time uint64) { n.facts.Ledger.TimeStamps[subjects[i]] = time })
}

func (n *inquiry) names(names []string) {
	if len(names) == 0 {
		return
	}
	keys := make([][]byte, len(names))
	for i, name := range names {
		keys[i] = key(name)
	}
	n.ask(nameColumns+`WHERE sha256(name) = ANY ($1::bytea[])`, []any{keys}, func(r *row) error {
		name := scanName(r)
		n.facts.Ledger.Names[name.Name] = name
		return nil
	})
}

// peerArrays returns the addresses and the keys of the IPs.
func peerArrays(peers []nprotocol.PeerKey) (addresses, ips [][]byte) {
	for i := range peers {
		addresses, ips = append(addresses, peers[i].Address[:]), append(ips, key(peers[i].IP))
	}
	return addresses, ips
}

func (n *inquiry) peers(peers []nprotocol.PeerKey) {
	if len(peers) == 0 {
		return
	}
	addresses, ips := peerArrays(peers)
	n.ask(peerColumns+`JOIN unnest($1::bytea[], $2::bytea[]) AS need (address, ip) ON p.address = need.address AND sha256(p.ip) = need.ip`,
		[]any{addresses, ips}, func(r *row) error {
			p := scanPeer(r)
			n.facts.Ledger.Peers[p.PeerKey] = p
			return nil
		})
}

// What proves keys: frames of a source or holder, and transfers to an address.
const (
	isProof    = `f.address_key <> 0 AND f.verdict IN (7, 11) AND ` + isFact
	isTransfer = `f.to_key <> 0 AND f.kind & 15 = 13 AND ` + isFact // of a name

	firstProofs = `SELECT need.n, f.* FROM unnest($1::bigint[]) WITH ORDINALITY AS need (key, n) CROSS JOIN LATERAL (
		(` + bare + `FROM frames f WHERE f.address_key = need.key AND ` + isProof + ` ORDER BY f.id LIMIT 1)
		UNION ALL (` + bare + `FROM frames f WHERE f.to_key = need.key AND ` + isTransfer + ` ORDER BY f.id LIMIT 1)) f`
	someProofs    = bare + `FROM frames f WHERE f.address_key = $1 AND f.id > $2 AND ` + isProof + ` ORDER BY f.id LIMIT 100`
	someTransfers = bare + `FROM frames f WHERE f.to_key = $1 AND f.id > $2 AND ` + isTransfer + ` ORDER BY f.id LIMIT 100`
)

// proves returns the key that a frame proves for an address, nil for none. A key
// proved for its source is preferred to that of whom it was transferred to.
func proves(f *rows.Found, address frame.KeyHash) []byte {
	switch {
	case len(f.Keys) > 0 && f.Address != nil && *f.Address == address:
		return f.Keys[0]
	case len(f.Keys) > 1 && f.Record != nil && f.Record.NewAddress == address:
		return f.Keys[1]
	}
	return nil
}

// keys asks for the keys that confirmed valid frames prove: of their sources and
// holders, and of those to whom names were transferred.
func (n *inquiry) keys(addresses []frame.KeyHash) {
	if len(addresses) == 0 {
		return
	}
	keys := make([]int64, len(addresses))
	for i, h := range addresses {
		keys[i] = rows.AddressKey(h)
	}
	n.ask(firstProofs, []any{keys}, func(r *row) error {
		i := r.integer() - 1
		f, err := scanRow(r)
		if err != nil {
			return err
		}
		if i < 0 || i >= int64(len(keys)) {
			r.fault("frames.address_key")
			return nil
		}
		address := addresses[i]
		if key := proves(f, address); key == nil {
			n.again = append(n.again, func() error { return n.proofOf(address) })
		} else if n.facts.Keys[address] == nil {
			n.facts.Keys[address] = key
		}
		return nil
	})
}

// proofOf looks at all frames of an address's key, in the order of arrival, until
// one proves its key.
func (n *inquiry) proofOf(address frame.KeyHash) error {
	for _, query := range []string{someProofs, someTransfers} {
		for after, more := int64(0), true; more && n.facts.Keys[address] == nil; {
			more = false
			err := n.v.each(query, []any{rows.AddressKey(address), after}, func(r *row) error {
				f, err := scanRow(r)
				if err != nil {
					return err
				}
				after, more = f.Arrival, true
				if key := proves(f, address); key != nil && n.facts.Keys[address] == nil {
					n.facts.Keys[address] = key
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
