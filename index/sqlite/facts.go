package sqlite

import (
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/rows"
	"github.com/metaim/metaim/nprotocol"
)

// Facts implements [index.View]: nothing is kept but the frames themselves, so
// taking a block away takes its facts away. Each is asked for by itself: a look at
// an index by a compiled statement costs less than binding it to a larger one.
func (v *view) Facts(need index.Need) (*index.Facts, error) {
	facts := index.NewFacts()
	for _, read := range []func(index.Need, *index.Facts) error{
		v.validFrames, v.validContents, v.heldNames, v.heldPeers, v.subjects, v.provedKeys,
	} {
		if err := read(need, facts); err != nil {
			return nil, err
		}
	}
	return facts, nil
}

// look runs a compiled statement for each of the items, and calls scan for the
// rows of each until it has seen enough.
func look[T any](c *conn, query string, items []T, bind func(*statement, *T), scan func(*statement, *T) (enough bool, err error)) error {
	if len(items) == 0 {
		return nil
	}
	s, err := c.take(query)
	if err != nil {
		return err
	}
	defer c.give(s)
	for i := range items {
		if err := s.Reset(); err != nil {
			return err
		}
		bind(s, &items[i])
		for {
			there, err := s.Step()
			if err != nil {
				return err
			}
			if !there {
				break
			}
			enough, err := scan(s, &items[i])
			if err != nil {
				return err
			}
			if enough {
				break
			}
		}
	}
	return nil
}

func (v *view) validFrames(need index.Need, facts *index.Facts) error {
	return look(v.conn, light+`WHERE f.frame_key = ? AND `+isFact, need.FrameIDs,
		func(s *statement, id *frame.ID) { s.BindInt64(1, rows.KeyOf(*id)) },
		func(s *statement, id *frame.ID) (bool, error) {
			f, err := s.found()
			if err != nil || f.ID != *id {
				return false, err
			}
			facts.Valid[*id] = true
			return true, nil
		})
}

// newest lists the valid frames of a key, the largest time stamp first: the first
// of what is sought has its largest.
const newest = light + `WHERE f.content_key = ? AND f.content_key <> 0 AND ` + isFact + ` ORDER BY f.time_order DESC`

func (v *view) validContents(need index.Need, facts *index.Facts) error {
	return look(v.conn, newest, need.ContentIDs,
		func(s *statement, id *frame.ID) { s.BindInt64(1, rows.KeyOf(*id)) },
		func(s *statement, id *frame.ID) (bool, error) {
			f, err := s.found()
			if err != nil || f.Message == nil || f.ContentID != *id {
				return false, err
			}
			t, err := frame.ParseTimeStamp(f.TimeStamp())
			if err != nil { // it stands among the numbers, and is none
				return false, nil
			}
			facts.Contents[*id] = t
			return true, nil
		})
}

func (v *view) subjects(need index.Need, facts *index.Facts) error {
	return look(v.conn, newest, need.Subjects,
		func(s *statement, subject *nprotocol.Subject) { s.BindInt64(1, rows.SubjectKey(*subject)) },
		func(s *statement, subject *nprotocol.Subject) (bool, error) {
			f, err := s.found()
			if err != nil || f.Record == nil || f.Record.Subject() != *subject {
				return false, err
			}
			t, err := frame.ParseTimeStamp(f.TimeStamp())
			if err != nil {
				return false, nil
			}
			facts.Ledger.TimeStamps[*subject] = t
			return true, nil
		})
}

func (v *view) heldNames(need index.Need, facts *index.Facts) error {
	return look(v.conn, nameColumns+`WHERE name = ?`, need.Names,
		func(s *statement, name *string) { s.BindBytes(1, []byte(*name)) },
		func(s *statement, name *string) (bool, error) {
			n, err := s.name()
			facts.Ledger.Names[*name] = n
			return true, err
		})
}

func (v *view) heldPeers(need index.Need, facts *index.Facts) error {
	return look(v.conn, peerColumns+`WHERE address = ? AND ip = ?`, need.Peers, bindPeer,
		func(s *statement, _ *nprotocol.PeerKey) (bool, error) {
			p, err := s.peer()
			facts.Ledger.Peers[p.PeerKey] = p
			return true, err
		})
}

func bindPeer(s *statement, key *nprotocol.PeerKey) {
	s.BindBytes(1, key.Address[:])
	s.BindBytes(2, []byte(key.IP))
}

func (v *view) provedKeys(need index.Need, facts *index.Facts) error {
	for _, address := range need.Keys {
		key, err := v.provedKey(address)
		if err != nil {
			return err
		}
		if key != nil {
			facts.Keys[address] = key
		}
	}
	return nil
}

// provedKey returns the key that a confirmed valid frame proves for an address:
// one of its source or holder, or of whom a name was transferred to. It returns
// nil when there is none.
func (v *view) provedKey(address frame.KeyHash) (key []byte, err error) {
	for _, way := range []struct {
		query string
		key   int // of the frame's
	}{
		{light + `WHERE f.address_key = ? AND ` + isCounted + ` AND ` + isFact + ` ORDER BY f.id`, 0},
		{light + `WHERE f.to_key = ? AND f.to_key <> 0 AND f.kind & 15 = 13 AND ` + isFact + ` ORDER BY f.id`, 1},
	} {
		err := v.each(way.query, func(s *statement) error {
			f, err := s.found()
			if err != nil || len(f.Keys) <= way.key {
				return err
			}
			if way.key == 0 && rows.Sent(f.Entry, address) || way.key == 1 && f.Record != nil && f.Record.NewAddress == address {
				key = f.Keys[way.key]
				return errEnough
			}
			return nil
		}, number(rows.AddressKey(address)))
		if err != nil && err != errEnough {
			return nil, err
		}
		if key != nil {
			break
		}
	}
	return key, nil
}
