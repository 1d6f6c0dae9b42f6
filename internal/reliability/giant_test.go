package reliability

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/metaim/metaim/index/memory"
	"github.com/metaim/metaim/internal/simchain"
)

// TestGiantBlock indexes one giant block, with a few frames far apart in it, and
// looks at how much memory the program took.
func TestGiantBlock(t *testing.T) {
	size := pick[int64](32<<20, 4_000_000_000)
	tree := simchain.NewTree()
	town := newTown(21)
	ours := map[uint64][]byte{}
	for i := range uint64(10) {
		ours[1+i*uint64(size)/250/12] = town.transaction()
	}
	big, err := simchain.NewBig(tree.Genesis, startTime, size, 250, ours)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "giant.dat")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriterSize(f, 1<<20)
	if err := big.WriteFile(w); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	store := "sqlite:" + filepath.Join(t.TempDir(), "index.db")
	start := time.Now()
	cmd := exec.Command(program, "index", "--network", "regtest", "--source", "blocks:"+path, "--store", store)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	took := time.Since(start)
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		t.Skip("no memory figures on " + runtime.GOOS)
	}
	mb := usage.Maxrss >> 10 // Linux counts in kB
	t.Logf("a block of %d bytes, %d transactions: %v, %d MB of memory at most", big.Size, big.Count, took.Round(time.Millisecond), mb)
	if mb > 512 {
		t.Errorf("%d MB of memory, want under 512", mb)
	}
	lines := metaim(t, "export", "--network", "regtest", "--store", store, "--confirmed")
	frames := 0
	for _, v := range canonical(t, []byte(lines)) {
		if strings.Contains(v, `"kind":"frame"`) {
			frames++
		}
	}
	if frames != len(ours) {
		t.Errorf("%d frames, want %d", frames, len(ours))
	}
}

// TestGiantMempool takes in a mempool of foreign transactions: nothing of them
// may stay.
func TestGiantMempool(t *testing.T) {
	many := pick(50_000, 1_000_000)
	store := memory.New()
	defer closeStore(t, store)
	follower := newFollower(t, store, simchain.NewSource(simchain.NewTree()))
	person := simchain.NewPerson(1, 1)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	peak := uint64(0)
	for i := 0; i < many; i += 1000 {
		var batch [][]byte
		for j := range 1000 {
			tx := simchain.Tx{Inputs: []simchain.Input{simchain.Spend(simchain.Coin(uint64(i+j)), person.Key.PublicKey())},
				Outputs: []simchain.Output{simchain.Pay(person.Hash, 1000), simchain.Data([]byte("\x00\x6a\x05other"))}}
			batch = append(batch, tx.Bytes())
		}
		if err := follower.Take(context.Background(), batch); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		peak = max(peak, after.HeapInuse)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	kept := max(0, int64(after.HeapAlloc)-int64(before.HeapAlloc))
	t.Logf("%d foreign transactions: %d MB in use at most, %d kB kept", many, peak>>20, kept>>10)
	if peak > 512<<20 {
		t.Errorf("%d MB in use, want under 512", peak>>20)
	}
	if kept > 8<<20 {
		t.Errorf("%d kB stayed", kept>>10)
	}
}
