package api

import "github.com/metaim/metaim/improtocol/frame"

// Interests find the subscriptions that may want an event by what it carries, so
// that those of others cost it nothing. A rule stands under the narrowest thing
// that it asks for; the hub's lock guards all.
type interests struct {
	byAddress            map[frame.KeyHash]set
	byName               map[string]set // who follows the name
	byType, byEncryption map[string]set // of messages, whatever their address
	any                  set            // of messages and records, whatever they are
	blocks               set
}

type set map[*subscription]struct{}

func newInterests() interests {
	return interests{byAddress: map[frame.KeyHash]set{}, byName: map[string]set{}, byType: map[string]set{},
		byEncryption: map[string]set{}, any: set{}, blocks: set{}}
}

func put[K comparable](m map[K]set, keys []K, sub *subscription) {
	for _, key := range keys {
		if m[key] == nil {
			m[key] = set{}
		}
		m[key][sub] = struct{}{}
	}
}

func remove[K comparable](m map[K]set, keys []K, sub *subscription) {
	for _, key := range keys {
		delete(m[key], sub)
		if len(m[key]) == 0 {
			delete(m, key)
		}
	}
}

// enter puts a subscription where events find it.
func (i *interests) enter(sub *subscription) {
	for _, r := range sub.match.rules {
		switch {
		case r.given.Blocks:
			i.blocks[sub] = struct{}{}
		case !r.ofAnyone():
			put(i.byAddress, r.addresses, sub)
		case len(r.given.Type) > 0:
			put(i.byType, r.given.Type, sub)
		case len(r.given.Encryption) > 0:
			put(i.byEncryption, r.given.Encryption, sub)
		default:
			i.any[sub] = struct{}{}
		}
	}
	// Who follows a name is told that it moved, whatever it is asked for.
	put(i.byName, sub.match.names(), sub)
}

func (i *interests) leave(sub *subscription) {
	delete(i.blocks, sub)
	delete(i.any, sub)
	for _, r := range sub.match.rules {
		remove(i.byAddress, r.addresses, sub)
		remove(i.byType, r.given.Type, sub)
		remove(i.byEncryption, r.given.Encryption, sub)
	}
	remove(i.byName, sub.match.names(), sub)
}
