package sqlite

import (
	"database/sql"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/rows"
	"github.com/metaim/metaim/nprotocol"
)

// What makes a frame a fact; the partial indexes have the same condition.
const isFact = `f.height IS NOT NULL AND f.verdict = 'valid'`

// Facts implements [index.View]: nothing is kept but the frames themselves, so
// taking a block away takes its facts away.
func (v *view) Facts(need index.Need) (*index.Facts, error) {
	facts := index.NewFacts()
	for _, read := range []func(index.Need, *index.Facts) error{
		v.validFrames, v.validContents, v.heldNames, v.heldPeers, v.subjects,
	} {
		if err := read(need, facts); err != nil {
			return nil, err
		}
	}
	return facts, v.provedKeys(need.Keys, facts.Keys)
}

func (v *view) validFrames(need index.Need, facts *index.Facts) error {
	return inChunks(need.FrameIDs, 1, bindID, func(list string, args []any) error {
		return v.each(`SELECT f.frame_id FROM frames f WHERE f.frame_id IN (VALUES `+list+`) AND `+isFact, args, func(r *sql.Rows) error {
			var b []byte
			var id frame.ID
			if err := r.Scan(&b); err != nil {
				return err
			}
			err := rows.Fill(id[:], "frames.frame_id", b)
			facts.Valid[id] = true
			return err
		})
	})
}

// The largest time stamp is sought for each item by itself: one look at the end
// of its part of an index, however many there are.
func (v *view) validContents(need index.Need, facts *index.Facts) error {
	return inChunks(need.ContentIDs, 1, bindID, func(list string, args []any) error {
		return v.each(`WITH need (content) AS (VALUES `+list+`)
			SELECT need.content, (SELECT max(f.time_order) FROM frames f WHERE f.content_id = need.content AND `+isFact+`)
			FROM need`, args, func(r *sql.Rows) error {
			var b []byte
			var last sql.NullInt64
			if err := r.Scan(&b, &last); err != nil || !last.Valid {
				return err
			}
			var id frame.ID
			err := rows.Fill(id[:], "frames.content_id", b)
			facts.Contents[id] = rows.Unsortable(last.Int64)
			return err
		})
	})
}

func (v *view) heldNames(need index.Need, facts *index.Facts) error {
	return inChunks(need.Names, 1, bindText, func(list string, args []any) error {
		return v.names(nameColumns+`WHERE name IN (VALUES `+list+`)`, args, func(n *nprotocol.Name) error {
			facts.Ledger.Names[n.Name] = n
			return nil
		})
	})
}

func bindPeer(args []any, key nprotocol.PeerKey) []any {
	return append(args, key.Address[:], []byte(key.IP))
}

func (v *view) heldPeers(need index.Need, facts *index.Facts) error {
	return inChunks(need.Peers, 2, bindPeer, func(list string, args []any) error {
		return v.peers(peerColumns+`WHERE (address, ip) IN (VALUES `+list+`)`, args, func(p *nprotocol.Peer) error {
			facts.Ledger.Peers[p.PeerKey] = p
			return nil
		})
	})
}

func (v *view) subjects(need index.Need, facts *index.Facts) error {
	var names, peers []nprotocol.Subject
	for _, s := range need.Subjects {
		if s.Protocol == frame.P {
			peers = append(peers, s)
		} else {
			names = append(names, s)
		}
	}
	if err := v.lastOperations(names, `f.name = need.text`, facts); err != nil {
		return err
	}
	return v.lastOperations(peers, `f.ip = need.text`, facts)
}

func bindSubject(args []any, s nprotocol.Subject) []any {
	return append(args, string(s.Protocol), s.Address[:], []byte(s.Text))
}

func (v *view) lastOperations(subjects []nprotocol.Subject, condition string, facts *index.Facts) error {
	return inChunks(subjects, 3, bindSubject, func(list string, args []any) error {
		return v.each(`WITH need (protocol, address, text) AS (VALUES `+list+`)
			SELECT need.protocol, need.address, need.text,
				(SELECT max(f.time_order) FROM frames f WHERE `+condition+` AND f.holder = need.address AND `+isFact+`)
			FROM need`, args, func(r *sql.Rows) error {
			var protocol string
			var address, text []byte
			var last sql.NullInt64
			if err := r.Scan(&protocol, &address, &text, &last); err != nil || !last.Valid {
				return err
			}
			s := nprotocol.Subject{Protocol: frame.Protocol(protocol), Text: string(text)}
			err := rows.Fill(s.Address[:], "frames.holder", address)
			facts.Ledger.TimeStamps[s] = rows.Unsortable(last.Int64)
			return err
		})
	})
}

// provedKeys reads the keys that confirmed valid frames prove: of their sources
// and holders, and of those to whom names were transferred.
func (v *view) provedKeys(addresses []frame.KeyHash, keys map[frame.KeyHash][]byte) error {
	return inChunks(addresses, 1, bindAddress, func(list string, args []any) error {
		return v.each(`WITH need (address) AS (VALUES `+list+`)
			SELECT need.address, coalesce(
				(SELECT f.signed_key FROM frames f WHERE f.address = need.address AND f.signed_key IS NOT NULL AND `+isFact+` LIMIT 1),
				(SELECT f.signed_key2 FROM frames f WHERE f.new_address = need.address AND f.signed_key2 IS NOT NULL AND `+isFact+` LIMIT 1))
			FROM need`, args, func(r *sql.Rows) error {
			var b, key []byte
			if err := r.Scan(&b, &key); err != nil || key == nil {
				return err
			}
			var address frame.KeyHash
			err := rows.Fill(address[:], "frames.address", b)
			keys[address] = key
			return err
		})
	})
}
