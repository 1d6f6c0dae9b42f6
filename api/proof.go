package api

import (
	"errors"
	"math"
	"net/http"
	"strconv"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/proof"
)

// proofRoutes are what somebody asks who trusts no server.
func (s *Server) proofRoutes() []*route {
	const group = "Proofs"
	return []*route{
		{
			method: http.MethodGet, path: "/v1/messages/{id}/proof", name: "getProof", group: group, cost: 2,
			summary: "What shows that a message is in a block",
			detail: "The transaction, its Merkle path (BUMP, BRC-74), both together (BEEF, BRC-62) and the block's header. With headers from elsewhere it is checked without a server. " +
				"After a reorganisation it is another; what is confirmed by 100 blocks may be kept for good.",
			parameters: []parameter{messageID},
			replies:    jsonReply("the proof", client.Proof{}),
			problems:   []string{"bad_id", client.CodeNotFound, client.CodeNotConfirmed, client.CodeNotProvable}, serve: s.getProof,
		},
		{
			method: http.MethodGet, path: "/v1/headers", name: "getHeaders", group: group, cost: 2,
			summary: "Block headers of the best chain",
			detail:  "80 bytes each, one behind the other, from a height on, as many as there are. Who fetches them page by page finds by the links between them whether a reorganisation came between.",
			parameters: []parameter{
				{name: "from", in: "query", shape: aNumber, most: math.MaxInt32, meaning: "height of the first; without it 0", example: "0"},
				{name: "count", in: "query", shape: aNumber, least: 1, most: client.MaxHeaders, meaning: "how many at most; without it all that one answer may have", example: "2000"},
			},
			replies:  []reply{{status: http.StatusOK, meaning: "the headers", media: []media{{kind: octets}}}},
			problems: []string{client.CodeNotFound},
			try:      "/v1/headers?count=1", serve: s.getHeaders,
		},
	}
}

// getProof gives the proof of a message, of the occurrence that stands for it if
// that is in a block, else of one that is.
func (s *Server) getProof(w http.ResponseWriter, r *http.Request) error {
	var reply client.Proof
	var deep int32
	err := s.view(r, func(v *view) error {
		e, all, err := v.find(r.PathValue("id"))
		if err != nil {
			return err
		}
		for _, other := range all {
			if e.State != index.Confirmed && other.State == index.Confirmed {
				e = other
			}
		}
		deep = v.confirmations(e)
		reply, err = v.proofOf(e)
		return err
	})
	if err != nil {
		return err
	}
	if deep >= deepBlocks {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	return writeJSON(w, r, http.StatusOK, reply)
}

func (v *view) proofOf(e *index.Entry) (client.Proof, error) {
	switch {
	case e.Malformed != "":
		return client.Proof{}, problem(http.StatusNotFound, client.CodeNotProvable, "the frame can't be read as a message: there is nothing to prove")
	case e.State != index.Confirmed:
		return client.Proof{}, problem(http.StatusNotFound, client.CodeNotConfirmed, "the message is in no block; a proof comes with the block that takes it")
	}
	p, err := v.Proof(e.Tx.ID)
	switch {
	case errors.Is(err, index.ErrNotFound):
		return client.Proof{}, problem(http.StatusNotFound, client.CodeNotProvable, "the index keeps no proofs of this block")
	case err != nil:
		return client.Proof{}, err
	case p.Raw == nil:
		return client.Proof{}, problem(http.StatusNotFound, client.CodeNotProvable,
			"the transaction is larger than %d bytes: the index doesn't keep it", index.MaxProved)
	}
	return proof.Of(e.ID, e.Output, p), nil
}

// getHeaders gives headers as they are.
func (s *Server) getHeaders(w http.ResponseWriter, r *http.Request) error {
	q := query(r)
	from, count := 0, client.MaxHeaders
	for name, n := range map[string]*int{"from": &from, "count": &count} {
		if text := q.Get(name); text != "" {
			*n, _ = strconv.Atoi(text) // the route has checked it
		}
	}
	var tips []index.Tip
	err := s.view(r, func(v *view) (err error) {
		tips, err = v.Blocks(int32(from), count)
		return err
	})
	if err != nil {
		return err
	}
	if len(tips) > 0 && int(tips[0].Height) != from {
		return notFound("the index has no header at height %d: it begins at %d", from, tips[0].Height)
	}
	body := make([]byte, 0, len(tips)*client.HeaderBytes)
	for _, t := range tips {
		body = append(body, t.Header[:]...)
	}
	return writeBody(w, r, http.StatusOK, octets, body)
}
