package api

import (
	"cmp"
	"errors"
	"net/http"
	"slices"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/nprotocol"
)

// nameEntriesMax is how many operations on one name are read.
const nameEntriesMax = 1000

func (s *Server) getName(w http.ResponseWriter, r *http.Request) error {
	var reply client.NameReply
	err := s.view(r, func(v *view) (err error) {
		reply.Name, err = v.nameOf(r.PathValue("name"))
		reply.Tip = v.tipJSON()
		return err
	})
	if err != nil {
		return err
	}
	return writeJSON(w, r, http.StatusOK, reply)
}

// nameOf shows a name with its pending operations.
func (v *view) nameOf(name string) (client.Name, error) {
	if err := nprotocol.CheckName(name); err != nil {
		return client.Name{}, badRequest("bad_name", "%q: %v", name, err)
	}
	entries, err := v.NameEntries(name, nameEntriesMax)
	if err != nil {
		return client.Name{}, err
	}
	n, err := v.Name(name)
	shown := client.Name{Name: name, State: client.NameFree}
	switch {
	case errors.Is(err, index.ErrNotFound):
	case err != nil:
		return client.Name{}, err
	default:
		shown = v.name(n)
		held, err := v.NamesOf(n.Address)
		if err != nil {
			return client.Name{}, err
		}
		first := index.Primary(held, v.tip.MedianTime)
		shown.Primary = first != nil && first.Name == name
	}
	for _, e := range entries {
		if e.State == index.Seen {
			shown.Pending = append(shown.Pending, v.record(e))
		}
	}
	if shown.State == client.NameFree && len(shown.Pending) == 0 {
		return client.Name{}, notFound("name %q is not registered", name)
	}
	return shown, nil
}

func (s *Server) getNameHistory(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	if err := nprotocol.CheckName(name); err != nil {
		return badRequest("bad_name", "%q: %v", name, err)
	}
	history := client.History{Name: name, Items: []client.Record{}}
	err := s.view(r, func(v *view) error {
		entries, err := v.NameEntries(name, nameEntriesMax)
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			return notFound("no operation on the name %q is in the index", name)
		}
		for _, e := range entries {
			history.Items = append(history.Items, v.record(e))
		}
		history.Complete, history.Tip = len(entries) < nameEntriesMax, v.tipJSON()
		return nil
	})
	if err != nil {
		return err
	}
	return writeJSON(w, r, http.StatusOK, history)
}

func (s *Server) getAddress(w http.ResponseWriter, r *http.Request) error {
	h, err := s.address(r.PathValue("address"))
	if err != nil {
		return err
	}
	reply := client.Address{Address: s.network.Address(h), Names: []client.Name{}, Peers: []client.Peer{}}
	err = s.view(r, func(v *view) error {
		reply.Tip = v.tipJSON()
		names, err := v.NamesOf(h)
		if err != nil {
			return err
		}
		first := index.Primary(names, v.tip.MedianTime)
		slices.SortFunc(names, func(a, b *nprotocol.Name) int {
			return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Name, b.Name))
		})
		for _, n := range names {
			shown := v.name(n)
			shown.Primary = n == first
			reply.Names = append(reply.Names, shown)
		}
		if first != nil {
			reply.PrimaryName = first.Name
		}
		peers, err := v.PeersOf(h)
		if err != nil {
			return err
		}
		for _, p := range peers {
			reply.Peers = append(reply.Peers, v.peer(p))
		}
		if reply.Keys, err = v.keys(h); err != nil {
			return err
		}
		key, err := v.PublicKey(h)
		if errors.Is(err, index.ErrNotFound) {
			return nil
		}
		reply.PublicKey = hexOf(key)
		return err
	})
	if err != nil {
		return err
	}
	return writeJSON(w, r, http.StatusOK, reply)
}
