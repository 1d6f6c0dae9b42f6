package testarc

import (
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/libsv/go-bk/envelope"

	"github.com/metaim/metaim/signer/broadcast"
)

// sealed answers with a signed envelope.
func sealed(w http.ResponseWriter, payload map[string]any) {
	payload["apiVersion"], payload["timestamp"] = "1.5.0", time.Now().UTC().Format(time.RFC3339)
	e, err := envelope.NewJSONEnvelope(payload)
	if err != nil {
		panic(err)
	}
	answer(w, http.StatusOK, e)
}

func (s *Server) submitMAPI(w http.ResponseWriter, r *http.Request) {
	b := s.now()
	if b.Raw != "" {
		io.WriteString(w, b.Raw) //nolint:errcheck // who asked is gone
		return
	}
	if s.failing(w, b) {
		return
	}
	var item struct {
		Raw string `json:"rawtx"`
	}
	if err := json.NewDecoder(r.Body).Decode(&item); err != nil {
		s.fail(w, http.StatusBadRequest, err.Error())
		return
	}
	raw, err := hex.DecodeString(item.Raw)
	if err != nil {
		s.fail(w, http.StatusBadRequest, err.Error())
		return
	}
	said := s.take(r.Context(), broadcast.Raw(raw), b)
	payload := map[string]any{"txid": said.TxID, "returnResult": "success", "resultDescription": *said.Info}
	if said.State != broadcast.StateSeen {
		payload["returnResult"] = "failure"
	}
	if said.State == broadcast.StateDoubleSpend {
		conflicts := []map[string]any{}
		for _, id := range b.Competing {
			conflicts = append(conflicts, map[string]any{"txid": id, "size": 200, "hex": ""})
		}
		payload["conflictedWith"], payload["resultDescription"] = conflicts, "258 txn-mempool-conflict"
	}
	sealed(w, payload)
}

func (s *Server) feeQuote(w http.ResponseWriter, _ *http.Request) {
	if raw := s.now().Raw; raw != "" {
		io.WriteString(w, raw) //nolint:errcheck // who asked is gone
		return
	}
	satoshis, bytes := s.fee()
	fee := func(kind string) map[string]any {
		unit := map[string]any{"satoshis": satoshis, "bytes": bytes}
		return map[string]any{"feeType": kind, "miningFee": unit, "relayFee": unit}
	}
	sealed(w, map[string]any{"fees": []any{fee("standard"), fee("data")}})
}
