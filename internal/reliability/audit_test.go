package reliability

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metaim/metaim/internal/simchain"
	"github.com/metaim/metaim/internal/testpg"
)

// TestAuditFindsChanges changes one thing in a store behind its back: the audit
// names it, with and without the blocks.
func TestAuditFindsChanges(t *testing.T) {
	tree := simchain.NewTree()
	tip := newTown(51).extend(tree, tree.Genesis, 20, 5)
	file := filepath.Join(t.TempDir(), "chain.dat")
	writeBlocks(t, file, tip.Branch()[1:])
	for _, c := range []struct{ name, change, finds string }{
		{"nothing", "SELECT 1", ""},
		{"a verdict", "UPDATE frames SET verdict = 9 WHERE id = (SELECT min(id) FROM frames WHERE verdict = 11)", `"verdict":"taken"`},
		{"a name's expiry", "UPDATE names SET expires_at = expires_at + 1 WHERE since_height = (SELECT max(since_height) FROM names)", `"kind":"name"`},
		{"a state hash", "UPDATE blocks SET state_hash = sha256('x') WHERE height = 7", "block 7 "},
	} {
		t.Run(c.name, func(t *testing.T) {
			url := testpg.URL(t)
			metaim(t, "index", "--network", "regtest", "--source", "blocks:"+file, "--store", url)
			testpg.Exec(t, url, c.change)
			for _, more := range [][]string{nil, {"--source", "blocks:" + file}} {
				out, err := exec.Command(program, append([]string{"audit", "--network", "regtest", "--store", url}, more...)...).CombinedOutput()
				if (err != nil) != (c.finds != "") || !strings.Contains(string(out), c.finds) {
					t.Errorf("audit %v: %v\n%s\nwant it to name %q", more, err, out, c.finds)
				}
			}
		})
	}
}

// TestUntil stops at a height, and goes on from there.
func TestUntil(t *testing.T) {
	tree := simchain.NewTree()
	tip := newTown(52).extend(tree, tree.Genesis, 20, 2)
	file := filepath.Join(t.TempDir(), "chain.dat")
	writeBlocks(t, file, tip.Branch()[1:])
	eachBackend(t, func(t *testing.T, b backend) {
		store := b.spec(t)
		for _, c := range []struct {
			until string
			want  *simchain.Block
		}{{"7", tip.Ancestor(7)}, {"7", tip.Ancestor(7)}, {"0", tip}} {
			metaim(t, "index", "--network", "regtest", "--source", "blocks:"+file, "--store", store, "--until", c.until)
			state := metaim(t, "state", "--network", "regtest", "--store", store, "--json")
			if !strings.Contains(state, `"block":"`+c.want.Hash.String()+`"`) {
				t.Errorf("until %s: %s, want block %s", c.until, state, c.want.Hash)
			}
		}
	})
}
