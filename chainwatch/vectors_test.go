package chainwatch_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/nprotocol"
)

// readBlocks reads the records of block files: magic, length, block.
func readBlocks(t *testing.T, files ...string) map[frame.Hash][]byte {
	t.Helper()
	blocks := map[frame.Hash][]byte{}
	for _, raw := range orderedBlocks(t, files...) {
		blocks[frame.HashOf(raw[:80])] = raw
	}
	return blocks
}

func orderedBlocks(t *testing.T, files ...string) (list [][]byte) {
	t.Helper()
	for _, name := range files {
		b, err := os.ReadFile(filepath.Join("testdata", "chain", name))
		if err != nil {
			t.Fatal(err)
		}
		for len(b) >= 8 {
			n := binary.LittleEndian.Uint32(b[4:])
			list = append(list, b[8:8+n])
			b = b[8+n:]
		}
	}
	return list
}

// chainOf adds all headers, whatever their order.
func chainOf(t *testing.T, raw [][]byte) *chainwatch.Chain {
	t.Helper()
	chain := chainwatch.NewChain(chainwatch.ParamsOf(frame.Regtest))
	for range raw {
		progress := false
		for _, b := range raw {
			isNew, err := chain.Add(chainwatch.Header(b[:80]))
			progress = progress || err == nil && isNew
		}
		if !progress {
			break
		}
	}
	return chain
}

type line map[string]any

func expected(t *testing.T, name string) (lines []line) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "chain", name))
	if err != nil {
		t.Fatal(err)
	}
	scanner := bufio.NewScanner(bytes.NewReader(b))
	scanner.Buffer(nil, 1<<26)
	for scanner.Scan() {
		var l line
		if err := json.Unmarshal(scanner.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, l)
	}
	return lines
}

// TestChainVectors judges the chains of the shared vectors, made by a model in
// another language, and compares every frame.
func TestChainVectors(t *testing.T) {
	for _, c := range []struct {
		name  string
		files []string
		want  string
	}{
		{"base", []string{"base.dat"}, "expected-base.ndjson"},
		{"reorganised", []string{"base.dat", "reorg.dat"}, "expected-reorg.ndjson"},
	} {
		t.Run(c.name, func(t *testing.T) {
			chain := chainOf(t, orderedBlocks(t, c.files...))
			blocks := readBlocks(t, c.files...)
			rules := index.DefaultRules(frame.Regtest)
			facts := index.NewFacts()
			want := expected(t, c.want)
			scanner := chainwatch.NewScanner(frame.Regtest)
			for _, step := range chain.Path(0, 1<<20) {
				scan, err := scanner.Block(bytes.NewReader(blocks[step.Hash]), nil)
				if err != nil {
					t.Fatal(step.Height, err)
				}
				for _, tx := range scan.Transactions {
					chainwatch.Prove(tx, frame.Regtest)
					for _, f := range tx.Frames {
						at := nprotocol.Moment{Position: nprotocol.Position{Height: step.Height, Index: tx.Index, Output: f.Output},
							Time: step.Header.Time(), Now: step.MedianTime}
						d := rules.Judge(facts, tx, f, at)
						if len(want) == 0 {
							t.Fatal("more frames than expected")
						}
						compare(t, want[0], tx, f, d, step.Height)
						want = want[1:]
					}
				}
			}
			for len(want) > 0 && want[0]["kind"] == "name" {
				compareName(t, want[0], facts)
				want = want[1:]
			}
			t.Logf("%d names, %d peers, %d lines of peers", len(facts.Ledger.Names), len(facts.Ledger.Peers), len(want))
			if len(want) != len(facts.Ledger.Peers) {
				t.Errorf("%d lines left, want the %d peers", len(want), len(facts.Ledger.Peers))
			}
		})
	}
}

func compare(t *testing.T, want line, tx *index.Transaction, f *index.Frame, d index.Decision, height int32) {
	t.Helper()
	got := line{"kind": "frame", "protocol": string(f.Protocol), "txid": tx.ID.String(), "vout": float64(f.Output),
		"height": float64(height), "index": float64(tx.Index), "verdict": string(d.Verdict)}
	if f.Malformed == "" {
		got["operation"] = f.Operation()
		got["frame_id"] = f.ID.String()
		got["time_stamp"] = f.TimeStamp()
		if d.Address != nil {
			got["address"] = frame.Regtest.Address(*d.Address)
		}
	}
	if m := f.Message; m != nil {
		got["content_id"], got["source"], got["type"] = f.ContentID.String(), m.Source, m.Type
		got["encryption"], got["message_hex"], got["other"] = m.Encryption, hex.EncodeToString(m.Body), m.Other
		recipients := []any{}
		for _, h := range (&index.Entry{Tx: tx, Frame: f, Decision: d}).Recipients() {
			recipients = append(recipients, frame.Regtest.Address(h))
		}
		got["recipients"] = recipients
	}
	if r := f.Record; r != nil {
		got["other"] = r.Other
		if r.Protocol == frame.P {
			got["ip"] = r.IP
		} else {
			got["name"] = r.Name
		}
		if r.Operation == nprotocol.Transfer {
			got["new_address"] = frame.Regtest.Address(r.NewAddress)
		}
	}
	g, _ := json.Marshal(got)
	w, _ := json.Marshal(want)
	if !bytes.Equal(g, w) {
		t.Errorf("frame at %d/%d/%d (%s)\n got %s\nwant %s", height, tx.Index, f.Output, f.Malformed, g, w)
	}
}

func compareName(t *testing.T, want line, facts *index.Facts) {
	t.Helper()
	name, err := hex.DecodeString(want["name_hex"].(string))
	if err != nil {
		t.Fatal(err)
	}
	n := facts.Ledger.Names[string(name)]
	if n == nil {
		t.Errorf("name %q is not there", name)
		return
	}
	got := []any{frame.Regtest.Address(n.Address), float64(n.Since.Height), float64(n.RegisteredAt), float64(n.ExpiresAt)}
	for i, key := range []string{"address", "since_height", "registered_at", "expires_at"} {
		if got[i] != want[key] {
			t.Errorf("name %q: %s is %v, want %v", name, key, got[i], want[key])
		}
	}
}
