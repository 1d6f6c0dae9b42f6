package api

import (
	"net/http"
	"net/url"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// whose reads address or name, of which one must be given.
func (v *view) whose(q url.Values) (frame.KeyHash, error) {
	switch {
	case q.Has("address") == q.Has("name"):
		return frame.KeyHash{}, badRequest("bad_query", "give either address or name")
	case q.Has("name"):
		return v.resolve(q.Get("name"))
	}
	return v.addressOf(q.Get("address"))
}

func (v *view) addressOf(text string) (frame.KeyHash, error) {
	h, err := v.network.ParseAddress(text)
	if err != nil {
		return h, badRequest("bad_address", "%q: %v", text, err)
	}
	return h, nil
}

// at reads the parameter after.
func (v *view) at(q url.Values, kind byte) (int64, error) {
	if !q.Has("after") {
		return 0, nil
	}
	return parseCursor(q.Get("after"), kind, v.epoch)
}

func (s *Server) getConversations(w http.ResponseWriter, r *http.Request) error {
	q := query(r)
	page := client.ConversationPage{Items: []client.Conversation{}}
	err := s.view(r, func(v *view) error {
		own, err := v.whose(q)
		if err != nil {
			return err
		}
		before, err := v.at(q, conversationCursor)
		if err != nil {
			return err
		}
		page.Address, page.Tip = v.network.Address(own), v.tipJSON()
		if q.Has("after") && before <= 1 {
			page.Complete = true // nothing arrived before the first
			return nil
		}
		return v.conversations(&page, index.ConversationQuery{Address: own, Before: before, Limit: s.limit(q)})
	})
	if err != nil {
		return err
	}
	return writeJSON(w, r, http.StatusOK, page)
}

// conversations fills a page: to its limit, or with large messages fewer.
// Conversations of which one message is the last stay together.
func (v *view) conversations(page *client.ConversationPage, q index.ConversationQuery) error {
	list, err := v.Conversations(q)
	if err != nil {
		return err
	}
	page.Complete = len(list) < q.Limit
	bytes, last := 0, int64(0)
	for _, c := range list {
		if bytes >= pageBytes && c.Last.Arrival != last {
			page.Complete = false
			break
		}
		last = c.Last.Arrival
		bytes += bodyBytes(c.Last)
		shown := client.Conversation{Peer: v.network.Address(c.Peer), Last: v.message(c.Last, q.Address), Sent: c.Sent, Received: c.Received}
		if shown.PeerName, err = v.primaryName(c.Peer); err != nil {
			return err
		}
		page.Items = append(page.Items, shown)
	}
	if last > 0 {
		page.Next = cursor{conversationCursor, v.epoch, last}.String()
	}
	return nil
}

func (v *view) primaryName(h frame.KeyHash) (string, error) {
	names, err := v.NamesOf(h)
	if err != nil {
		return "", err
	}
	if first := index.Primary(names, v.tip.MedianTime); first != nil {
		return first.Name, nil
	}
	return "", nil
}

func (s *Server) getCoins(w http.ResponseWriter, r *http.Request) error {
	q := query(r)
	page := client.CoinPage{Items: []client.Coin{}}
	err := s.view(r, func(v *view) error {
		own, err := v.addressOf(r.PathValue("address"))
		if err != nil {
			return err
		}
		after, err := v.at(q, coinCursor)
		if err != nil {
			return err
		}
		page.Address, page.Tip = v.network.Address(own), v.tipJSON()
		limit := s.limit(q)
		coins, err := v.Coins(index.CoinQuery{Address: own, After: after, Limit: limit})
		if err != nil {
			return err
		}
		page.Complete = len(coins) < limit
		for _, c := range coins {
			page.Items = append(page.Items, client.Coin{TxID: c.TxID.String(), Output: c.Output, Satoshis: c.Satoshis, Height: c.Height, Coinbase: c.Coinbase})
			after = c.Lead
		}
		if after > 0 {
			page.Next = cursor{coinCursor, v.epoch, after}.String()
		}
		return nil
	})
	if err != nil {
		return err
	}
	return writeJSON(w, r, http.StatusOK, page)
}

// Keys that an address published are shown with it: the newest, those of a size
// that a key has.
const (
	keysShown = 10
	keyBytes  = 16 << 10
)

func (v *view) keys(address frame.KeyHash) ([]client.Message, error) {
	entries, err := v.KeyRecords(address, keysShown)
	if err != nil {
		return nil, err
	}
	shown := []client.Message{}
	for _, e := range entries {
		if bodyBytes(e) <= keyBytes {
			shown = append(shown, v.message(e))
		}
	}
	return shown, nil
}
