package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/simchain"
	"github.com/metaim/metaim/signer"
)

// TestScanWOC: coins that WhatsOnChain knows are brought in, many transactions at
// once; what isn't the transaction that it is said to be, or is in no block, isn't.
func TestScanWOC(t *testing.T) {
	home := t.TempDir()
	key := signer.NewKey()
	store := &signer.Keystore{Path: filepath.Join(home, "keys.age"), WorkFactor: 10}
	if _, err := store.Add(t.Context(), "a passphrase", "alice", key); err != nil {
		t.Fatal(err)
	}
	raws := map[string][]byte{}
	var result []string
	for n := range uint64(23) {
		tx := simchain.Tx{Inputs: []simchain.Input{simchain.Spend(simchain.Coin(n), key.PublicKey())},
			Outputs: []simchain.Output{simchain.Pay(key.KeyHash(), 1000+n)}}
		raw := tx.Bytes()
		id := frame.HashOf(raw).String()
		raws[id] = raw
		height := 7
		if n == 22 {
			height = 0
		}
		result = append(result, fmt.Sprintf(`{"height":%d,"tx_pos":0,"tx_hash":%q,"value":%d}`, height, id, 1000+n))
	}
	lies, asked := false, 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/unspent/all") {
			if !strings.Contains(r.URL.Path, "/test/address/"+frame.Regtest.Address(key.KeyHash())+"/") {
				t.Errorf("asked for %s", r.URL.Path)
			}
			fmt.Fprintf(w, `{"result":[%s],"error":""}`, strings.Join(result, ","))
			return
		}
		asked++
		var q struct{ TxIDs []string }
		_ = json.NewDecoder(r.Body).Decode(&q)
		var list []map[string]string
		for _, id := range q.TxIDs {
			raw := raws[id]
			if lies {
				raw = append(raw[:len(raw):len(raw)], 0)
			}
			list = append(list, map[string]string{"txid": id, "hex": hex.EncodeToString(raw)})
		}
		_ = json.NewEncoder(w).Encode(list)
	}))
	defer server.Close()
	scan := func(args ...string) (status int, out, errs string) {
		p, o, e := testProgram(map[string]string{"METAIM_HOME": home, "METAIM_NETWORK": "regtest", "METAIM_PASSPHRASE": "a passphrase"})
		status = run(t.Context(), append([]string{"wallet", "scan", "--json"}, args...), p)
		return status, o.String(), e.String()
	}
	lies = true
	if status, out, errs := scan("--woc=" + server.URL); status != 1 || strings.Contains(out, `"added":true`) || !strings.Contains(out, "isn't that transaction") {
		t.Errorf("a service that lies: got status %d, %s %s", status, out, errs)
	}
	lies, asked = false, 0
	if status, out, errs := scan("--woc=" + server.URL); status != 1 || strings.Count(out, `"added":true`) != 22 || !strings.Contains(out, "in no block yet") || asked != 2 {
		t.Errorf("got status %d after %d questions, %s %s; want 22 of 23 brought in, in two questions", status, asked, out, errs)
	}
	result = result[:22]
	if status, out, errs := scan("--woc=" + server.URL); status != 0 || out != "" || !strings.Contains(errs, "all coins that WhatsOnChain knows") {
		t.Errorf("again: got status %d, %s %s; want nothing new", status, out, errs)
	}
	if status, _, errs := scan("--woc"); status != 2 || !strings.Contains(errs, "nothing of network regtest") {
		t.Errorf("regtest at the service: got status %d, %s; want 2", status, errs)
	}
	if status, _, errs := scan("--woc=file:///etc"); status != 2 || !strings.Contains(errs, "WhatsOnChain") {
		t.Errorf("no address: got status %d, %s; want 2", status, errs)
	}
}
