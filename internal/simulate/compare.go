package simulate

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/memory"
	"github.com/metaim/metaim/internal/simchain"
	"github.com/metaim/metaim/nprotocol"
)

// compare folds the chain that the index ends with from nothing, and what is
// unconfirmed after it, and compares everything.
func (w *world) compare() error {
	w.stats.Checks++
	return w.store.Store.View(w.ctx, func(v index.View) error {
		tip, err := v.Tip()
		if err != nil {
			return err
		}
		var chain []*oracleBlock
		if tip.Height >= 0 {
			chain = w.oracleChain(w.tree.Blocks[tip.Hash])
		}
		if int(tip.Height) != len(chain)-1 || len(chain) > 0 && tip.MedianTime != chain[len(chain)-1].now {
			return fmt.Errorf("the index ends at height %d, median time %d; the oracle has %d blocks", tip.Height, tip.MedianTime, len(chain))
		}
		h := fold(chain, w.mempool.unconfirmed())
		if err := w.compareWith(v, h); err != nil {
			return err
		}
		return w.compareProofs(v, tip)
	})
}

func (w *world) compareWith(v index.View, h history) error {
	var got []*index.Entry
	err := v.Confirmed(func(e *index.Entry) error { got = append(got, e); return nil })
	if err != nil {
		return err
	}
	unconfirmed, err := v.Unconfirmed()
	if err != nil {
		return err
	}
	for _, s := range unconfirmed {
		got = append(got, s.Entries...)
	}
	for i := range max(len(got), len(h)) {
		gotLine, wantLine := "nothing", "nothing"
		if i < len(got) {
			gotLine = entryLine(got[i])
		}
		if i < len(h) {
			wantLine = h[i].line()
		}
		if gotLine != wantLine {
			return fmt.Errorf("frame %d:\n index  %s\n oracle %s", i, gotLine, wantLine)
		}
	}
	for _, j := range h {
		if j.pending {
			w.stats.Provisional[j.verdict]++
		} else {
			w.stats.Verdicts[j.verdict]++
		}
	}
	if err := compareTalks(v, h); err != nil {
		return err
	}
	return compareRecords(v, h.confirmed())
}

func addressText(h *frame.KeyHash) string {
	if h == nil {
		return "unknown"
	}
	for i, p := range people {
		if p.Hash == *h {
			return fmt.Sprintf("p%d", i)
		}
	}
	for p, address := range registration {
		if address == *h {
			return "fee" + string(p)
		}
	}
	return frame.Regtest.Address(*h)
}

func recipientsText(list []frame.KeyHash) string {
	texts := make([]string, len(list))
	for i := range list {
		texts[i] = addressText(&list[i])
	}
	return strings.Join(texts, ",")
}

func entryLine(e *index.Entry) string {
	place := "unconfirmed"
	if e.State == index.Confirmed {
		place = fmt.Sprintf("height %d index %d time %d", e.Height, e.Tx.Index, e.Time)
	}
	line := fmt.Sprintf("%s %s output %d %s id %s", place, e.Tx.ID, e.Output, e.Verdict, e.ID)
	if e.Malformed != "" {
		return line
	}
	line += " by " + addressText(e.Address)
	if e.Message != nil {
		line += " content " + e.ContentID.String() + " to " + recipientsText(e.Recipients())
	}
	return line
}

func (j *judged) line() string {
	place := "unconfirmed"
	if !j.pending {
		place = fmt.Sprintf("height %d index %d time %d", j.height, j.index, j.time)
	}
	line := fmt.Sprintf("%s %s output %d %s id %s", place, j.tx.id, j.output, j.verdict, j.id)
	if j.frame.malformed() {
		return line
	}
	line += " by " + addressText(j.address)
	if m := j.frame.message; m != nil {
		line += " content " + m.ContentID().String() + " to " + recipientsText(j.recipients())
	}
	return line
}

func compareRecords(v index.View, h history) error {
	var got, want []string
	err := v.AllNames(func(n *nprotocol.Name) error {
		got = append(got, fmt.Sprintf("name %q %s since %v registered %d expires %d deleted %v", n.Name, addressText(&n.Address),
			n.Since, n.RegisteredAt, n.ExpiresAt, n.Deleted))
		return nil
	})
	if err != nil {
		return err
	}
	err = v.AllPeers(func(p *nprotocol.Peer) error {
		got = append(got, fmt.Sprintf("peer %s %s registered %d expires %d deleted %v", addressText(&p.Address), p.IP, p.RegisteredAt, p.ExpiresAt, p.Deleted))
		return nil
	})
	if err != nil {
		return err
	}
	for _, n := range h.names() {
		since := []any{n.since.height, n.since.index, n.since.output}
		want = append(want, fmt.Sprintf("name %q %s since {%v %v %v} registered %d expires %d deleted %v", n.name, addressText(&n.address),
			since[0], since[1], since[2], n.registered, n.expires, n.deleted))
	}
	for _, p := range h.peers() {
		want = append(want, fmt.Sprintf("peer %s %s registered %d expires %d deleted %v", addressText(&p.address), p.ip, p.registered, p.expires, p.deleted))
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("records:\n index\n  %s\n oracle\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
	return nil
}

// replayChain indexes the best chain from nothing, and compares the state
// hashes.
func (w *world) replayChain() error {
	tip, err := w.tip()
	if err != nil {
		return err
	}
	chain := chainwatch.NewChain(chainwatch.ParamsOf(simchain.Network))
	branch := w.tree.Blocks[tip.Hash].Branch()
	for _, b := range branch[1:] {
		if _, err := chain.Add(b.Header); err != nil {
			return err
		}
	}
	scanner := chainwatch.NewScanner(simchain.Network)
	var blocks []*index.Block
	for _, step := range chain.Path(-1, len(branch)) {
		b := &index.Block{Height: step.Height, Hash: step.Hash, Header: step.Header, MedianTime: step.MedianTime}
		blocks = append(blocks, b)
		if step.Height == 0 {
			continue
		}
		scan, err := scanner.Block(bytes.NewReader(branch[step.Height].Bytes()), nil)
		if err != nil {
			return err
		}
		for _, tx := range scan.Transactions {
			chainwatch.Prove(tx, simchain.Network)
		}
		b.Transactions = scan.Transactions
	}
	clean := index.NewWriter(memory.New(), index.DefaultRules(simchain.Network), nil)
	if err := clean.Connect(w.ctx, blocks); err != nil {
		return fmt.Errorf("replay from nothing: %w", err)
	}
	again, err := clean.Tip(w.ctx)
	if err != nil {
		return err
	}
	if again != tip {
		return fmt.Errorf("the index ends with %s and state %x, a replay from nothing with %s and %x", tip.Hash, tip.StateHash, again.Hash, again.StateHash)
	}
	return nil
}
