package postgres

import (
	"crypto/sha256"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/rows"
	"github.com/metaim/metaim/nprotocol"
)

// What makes a frame a fact; the partial indexes have the same condition.
const isFact = `f.height IS NOT NULL AND f.verdict = 'valid'`

// key is what a name or IP is found by.
func key(text string) []byte {
	h := sha256.Sum256([]byte(text))
	return h[:]
}

// Facts implements [index.View]: nothing is kept but the frames themselves, so
// taking a block away takes its facts away. All is asked in one round trip.
func (v *view) Facts(need index.Need) (*index.Facts, error) {
	facts := index.NewFacts()
	var questions []question
	if len(need.FrameIDs) > 0 {
		questions = append(questions, validFrames(need.FrameIDs, facts))
	}
	if len(need.ContentIDs) > 0 {
		questions = append(questions, validContents(need.ContentIDs, facts))
	}
	if len(need.Names) > 0 {
		questions = append(questions, heldNames(need.Names, facts))
	}
	if len(need.Peers) > 0 {
		questions = append(questions, heldPeers(need.Peers, facts))
	}
	if len(need.Subjects) > 0 {
		questions = append(questions, lastOperations(need.Subjects, frame.N, `sha256(f.name)`, facts),
			lastOperations(need.Subjects, frame.P, `sha256(f.ip)`, facts))
	}
	if len(need.Keys) > 0 {
		questions = append(questions, provedKeys(need.Keys, facts.Keys))
	}
	if len(questions) == 0 {
		return facts, nil
	}
	return facts, v.ask(questions...)
}

func validFrames(ids []frame.ID, facts *index.Facts) question {
	return question{`SELECT f.frame_id FROM frames f WHERE f.frame_id = ANY ($1::bytea[]) AND ` + isFact, []any{idBytes(ids)}, func(r *row) error {
		var id frame.ID
		r.must(id[:], "frames.frame_id")
		facts.Valid[id] = true
		return nil
	}}
}

func idBytes(ids []frame.ID) [][]byte {
	list := make([][]byte, len(ids))
	for i := range ids {
		list[i] = ids[i][:]
	}
	return list
}

// The largest time stamp is sought for each item by itself: one look at the end
// of its part of an index, however many there are.
func validContents(ids []frame.ID, facts *index.Facts) question {
	return question{`SELECT need.content, (SELECT max(f.time_order) FROM frames f WHERE f.content_id = need.content AND ` + isFact + `)
		FROM unnest($1::bytea[]) AS need (content)`, []any{idBytes(ids)}, func(r *row) error {
		var id frame.ID
		r.must(id[:], "frames.content_id")
		if last, ok := r.number(); ok {
			facts.Contents[id] = rows.Unsortable(last)
		}
		return nil
	}}
}

func heldNames(names []string, facts *index.Facts) question {
	keys := make([][]byte, len(names))
	for i, name := range names {
		keys[i] = key(name)
	}
	return question{nameColumns + `WHERE sha256(name) = ANY ($1::bytea[])`, []any{keys}, func(r *row) error {
		n := scanName(r)
		facts.Ledger.Names[n.Name] = n
		return nil
	}}
}

// peerArrays returns the addresses and the keys of the IPs.
func peerArrays(peers []nprotocol.PeerKey) (addresses, ips [][]byte) {
	for i := range peers {
		addresses, ips = append(addresses, peers[i].Address[:]), append(ips, key(peers[i].IP))
	}
	return addresses, ips
}

func heldPeers(peers []nprotocol.PeerKey, facts *index.Facts) question {
	addresses, ips := peerArrays(peers)
	return question{peerColumns + `JOIN unnest($1::bytea[], $2::bytea[]) AS need (address, ip) ON p.address = need.address AND sha256(p.ip) = need.ip`,
		[]any{addresses, ips}, func(r *row) error {
			p := scanPeer(r)
			facts.Ledger.Peers[p.PeerKey] = p
			return nil
		}}
}

// lastOperations asks for the subjects of one protocol. The answers name them by
// their place in the list.
func lastOperations(subjects []nprotocol.Subject, protocol frame.Protocol, column string, facts *index.Facts) question {
	var asked []nprotocol.Subject
	var addresses, texts [][]byte
	for i := range subjects {
		s := &subjects[i]
		if (s.Protocol == frame.P) == (protocol == frame.P) {
			asked, addresses, texts = append(asked, *s), append(addresses, s.Address[:]), append(texts, key(s.Text))
		}
	}
	return question{`SELECT need.n, (SELECT max(f.time_order) FROM frames f WHERE ` + column + ` = need.text AND f.holder = need.address AND ` + isFact + `)
		FROM unnest($1::bytea[], $2::bytea[]) WITH ORDINALITY AS need (address, text, n)`, []any{addresses, texts}, func(r *row) error {
		n := r.integer()
		if n < 1 || n > int64(len(asked)) {
			r.fault("frames.holder")
			return nil
		}
		if last, ok := r.number(); ok {
			facts.Ledger.TimeStamps[asked[n-1]] = rows.Unsortable(last)
		}
		return nil
	}}
}

// provedKeys asks for the keys that confirmed valid frames prove: of their sources
// and holders, and of those to whom names were transferred.
func provedKeys(addresses []frame.KeyHash, keys map[frame.KeyHash][]byte) question {
	return question{`SELECT need.address, coalesce(
			(SELECT f.signed_key FROM frames f WHERE f.address = need.address AND f.signed_key IS NOT NULL AND ` + isFact + ` LIMIT 1),
			(SELECT f.signed_key2 FROM frames f WHERE f.new_address = need.address AND f.signed_key2 IS NOT NULL AND ` + isFact + ` LIMIT 1))
		FROM unnest($1::bytea[]) AS need (address)`, []any{addressBytes(addresses)}, func(r *row) error {
		var address frame.KeyHash
		r.must(address[:], "frames.address")
		if key := r.bytes(); key != nil {
			keys[address] = key
		}
		return nil
	}}
}

func addressBytes(addresses []frame.KeyHash) [][]byte {
	list := make([][]byte, len(addresses))
	for i := range addresses {
		list[i] = addresses[i][:]
	}
	return list
}
