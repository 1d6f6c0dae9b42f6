package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/internal/simchain"
	"github.com/metaim/metaim/signer"
)

// A jungle is a JungleBus service that tells of some transactions.
type jungle struct {
	order  []string
	raws   map[string][]byte
	height map[string]int // 0: in no block
	lies   bool           // gives other bytes
}

func (j *jungle) add(height int, tx simchain.Tx) frame.Hash {
	raw := tx.Bytes()
	id := frame.HashOf(raw)
	j.order = append(j.order, id.String())
	j.raws[id.String()], j.height[id.String()] = raw, height
	return id
}

func (j *jungle) block(id string) string {
	if j.height[id] == 0 {
		return ""
	}
	return frame.HashOf([]byte(id)).String()
}

func (j *jungle) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	switch {
	case r.URL.Path == "/v1/block_header/get/0":
		fmt.Fprintf(w, `{"hash":%q}`, chainwatch.ParamsOf(frame.Regtest).Genesis.Hash())
	case strings.HasPrefix(r.URL.Path, "/v1/address/get/"):
		list := []map[string]any{}
		for _, id := range j.order {
			list = append(list, map[string]any{"transaction_id": id, "block_hash": j.block(id), "block_height": j.height[id]})
		}
		_ = json.NewEncoder(w).Encode(list)
	case strings.HasPrefix(r.URL.Path, "/v1/transaction/get/"):
		raw := j.raws[id]
		if j.lies {
			raw = append(raw[:len(raw):len(raw)], 0)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"transaction": raw, "block_hash": j.block(id)})
	}
}

// TestScanJungleBus: coins are brought in that no transaction of the service spends,
// and coins of the wallet that one spends are taken off; what isn't the transaction
// that it is said to be, or is in no block, is left out.
func TestScanJungleBus(t *testing.T) {
	home := t.TempDir()
	key := signer.NewKey()
	store := &signer.Keystore{Path: filepath.Join(home, "keys.age"), WorkFactor: 10}
	if _, err := store.Add(t.Context(), "a passphrase", "alice", key); err != nil {
		t.Fatal(err)
	}
	j := &jungle{raws: map[string][]byte{}, height: map[string]int{}}
	server := httptest.NewServer(j)
	defer server.Close()
	metaim := func(args ...string) (status int, out, errs string) {
		p, o, e := testProgram(map[string]string{"METAIM_HOME": home, "METAIM_NETWORK": "regtest", "METAIM_PASSPHRASE": "a passphrase"})
		status = run(t.Context(), append([]string{"wallet"}, args...), p)
		return status, o.String(), e.String()
	}
	spend := func(id frame.Hash, output uint32, pays ...uint64) simchain.Tx {
		tx := simchain.Tx{Inputs: []simchain.Input{simchain.Spend(index.Outpoint{TxID: id, Output: output}, key.PublicKey())},
			Outputs: []simchain.Output{simchain.Pay(frame.KeyHash{1}, 1)}}
		for _, satoshis := range pays {
			tx.Outputs = append(tx.Outputs, simchain.Pay(key.KeyHash(), satoshis))
		}
		return tx
	}
	balance := func(want string) {
		t.Helper()
		if status, out, errs := metaim("balance", "--json"); status != 0 || !strings.Contains(out, want) {
			t.Errorf("got status %d, %s %s, want %s", status, out, errs, want)
		}
	}
	scan := "--junglebus=" + server.URL

	first := j.add(1, spend(frame.Hash{1}, 0, 1000, 2000)) // outputs 1 and 2
	second := j.add(2, spend(first, 1, 900))               // takes the 1000, and 900 come back
	third := j.add(3, spend(second, 1))                    // takes the 900
	waiting := j.add(0, spend(frame.Hash{2}, 0, 50))
	j.lies = true
	if status, out, errs := metaim("scan", "--json", scan); status != 1 || strings.Contains(out, `"added":true`) ||
		strings.Count(out, "isn't that transaction") != 4 || !strings.Contains(errs, "4 of the 4") {
		t.Errorf("a service that lies: got status %d, %s %s", status, out, errs)
	}
	j.lies = false
	status, out, errs := metaim("scan", scan)
	want := fmt.Sprintf("received 3000 satoshis in %s\nleft out %s: it is in no block yet\nspent 1000 satoshis in %s\nreceived 900 satoshis in %s\nspent 900 satoshis in %s\n",
		first, waiting, second, second, third)
	if status != 1 || out != want || !strings.Contains(errs, "1 of the 4 transactions") {
		t.Errorf("got status %d, %s %s, want 1 and %s", status, out, errs, want)
	}
	balance(`"satoshis":2000,"coins":1,`)

	delete(j.raws, waiting.String())
	j.order = j.order[:3]
	if status, out, errs := metaim("scan", scan); status != 0 || out != "" || !strings.Contains(errs, "all coins that JungleBus knows") {
		t.Errorf("again: got status %d, %s %s, want nothing new", status, out, errs)
	}

	fourth := j.add(0, spend(first, 2)) // the wallet's only coin, and not yet in a block
	if status, out, _ := metaim("scan", "--json", scan); status != 1 || !strings.Contains(out, "in no block yet") {
		t.Errorf("spent in no block yet: got status %d, %s, want it told", status, out)
	}
	balance(`"satoshis":2000,"coins":1,`)
	j.height[fourth.String()] = 4
	if status, out, errs := metaim("scan", "--json", scan); status != 0 ||
		out != fmt.Sprintf(`{"txid":%q,"coins":0,"satoshis":0,"spent":2000,"added":true}`+"\n", fourth) {
		t.Errorf("spent: got status %d, %s %s, want the spending of 2000", status, out, errs)
	}
	balance(`"satoshis":0,"coins":0,`)

	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"regtest at the service", []string{"--junglebus"}, "nothing of network regtest"},
		{"no address", []string{"--junglebus=file:///etc"}, "the address of JungleBus"},
		{"two finders", []string{"--woc", "--junglebus"}, "[junglebus woc]"},
	} {
		if status, _, errs := metaim(append([]string{"scan"}, tt.args...)...); status != 2 || !strings.Contains(errs, tt.want) {
			t.Errorf("%s: got status %d, %s, want 2 and %s", tt.name, status, errs, tt.want)
		}
	}
}
