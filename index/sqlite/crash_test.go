package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/nprotocol"
)

const victimEnv = "METAIM_TEST_VICTIM"

// TestVictim is not a test: it is the process that TestKilled kills.
func TestVictim(t *testing.T) {
	path := os.Getenv(victimEnv)
	if path == "" {
		t.Skip("run by TestKilled")
	}
	s := openAt(t, path)
	tip, _, _ := state(t, s)
	for h := tip + 1; ; h++ {
		if err := s.Update(context.Background(), func(tx index.Tx) error { return writeBlock(tx, h) }); err != nil {
			t.Fatal(err)
		}
	}
}

// writeBlock writes a block with twenty frames, a name and an event.
func writeBlock(tx index.Tx, height int32) error {
	b := &index.Block{Height: height, Hash: frame.HashOf(fmt.Append(nil, height))}
	if err := tx.PutBlock(b, [32]byte{}); err != nil {
		return err
	}
	placed := make([]*index.Placed, 20)
	for i := range placed {
		placed[i] = &index.Placed{State: index.Confirmed, Height: height, Decisions: []index.Decision{{Verdict: frame.Malformed}},
			Tx: &index.Transaction{ID: frame.HashOf(fmt.Append(nil, height, i)), Index: uint32(i),
				Frames: []*index.Frame{{Protocol: frame.IM, Malformed: strings.Repeat("x", 500)}}}}
	}
	if _, err := tx.Save(placed); err != nil {
		return err
	}
	if err := tx.PutNames([]*nprotocol.Name{{Name: fmt.Sprintf("%08d", height)}}); err != nil {
		return err
	}
	return tx.AppendEvents([]*index.Event{{Kind: index.EventConnected, Height: height, Block: b.Hash}})
}

func state(t testing.TB, s *Store) (tip int32, frames, events int64) {
	t.Helper()
	err := s.View(context.Background(), func(v index.View) error {
		last, err := v.Tip()
		if err != nil {
			return err
		}
		tip = last.Height
		if events, err = v.LastSeq(); err != nil {
			return err
		}
		return v.Confirmed(func(*index.Entry) error { frames++; return nil })
	})
	if err != nil {
		t.Fatal(err)
	}
	return tip, frames, events
}

// A writer killed at any instant leaves whole transactions, and the next one
// goes on.
func TestKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.db")
	last := int32(-1)
	for round := range 4 {
		victim := exec.Command(os.Args[0], "-test.run=^TestVictim$")
		victim.Env = append(os.Environ(), victimEnv+"="+path)
		if err := victim.Start(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, path, last+int32(2+2*round))
		if err := victim.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = victim.Wait() // it was killed
		s := openAt(t, path)
		tip, frames, events := state(t, s)
		if tip <= last || frames != 20*int64(tip+1) || events != int64(tip+1) {
			t.Fatalf("round %d: tip %d with %d frames and %d events; the tip was %d", round, tip, frames, events, last)
		}
		var check string
		err := s.View(t.Context(), func(v index.View) error {
			return v.(*view).first(`PRAGMA integrity_check`, func(s *statement) error { check = s.ColumnText(0); return nil })
		})
		if err != nil || check != "ok" {
			t.Fatalf("integrity: %q, %v", check, err)
		}
		last = tip
		if round%2 == 0 { // the journal may also be left as it is
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := s.Update(t.Context(), func(tx index.Tx) error { return writeBlock(tx, tip+1) }); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// waitFor waits until the index at path has reached a height.
func waitFor(t *testing.T, path string, height int32) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		s, err := Open(t.Context(), path, Config{Network: frame.Regtest, ReadOnly: true})
		if err == nil {
			var tip index.Tip
			err := s.View(t.Context(), func(v index.View) (err error) { tip, err = v.Tip(); return err })
			if err := errors.Join(err, s.Close()); err != nil {
				t.Fatal(err)
			}
			if tip.Height >= height {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("height %d isn't reached; last error %v", height, err)
		}
		time.Sleep(time.Millisecond)
	}
}

// A full disk is an error, leaves nothing half done, and ends when there is room.
func TestFullDisk(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "index.db"))
	defer s.Close()
	limit := func(pages int) {
		c := <-s.turn
		defer func() { s.turn <- c }()
		if err := c.run(fmt.Sprintf(`PRAGMA max_page_count = %d`, pages)); err != nil {
			t.Fatal(err)
		}
	}
	limit(200)
	var err error
	height := int32(0)
	for ; err == nil; height++ {
		err = s.Update(t.Context(), func(tx index.Tx) error { return writeBlock(tx, height) })
		if height > 1_000 {
			t.Fatal("the disk doesn't fill")
		}
	}
	if !strings.Contains(err.Error(), "full") {
		t.Errorf("got %v, want a sentence that says that the disk is full", err)
	}
	written := height - 2 // the last that was written, which may be none
	check := func(what string) {
		t.Helper()
		tip, frames, events := state(t, s)
		if tip != written || frames != 20*int64(written+1) || events != int64(written+1) {
			t.Errorf("%s: tip %d with %d frames and %d events, want the tip %d", what, tip, frames, events, written)
		}
	}
	check("full")
	// Whoever goes on after the error gets it again and writes nothing.
	big := func(tx index.Tx) error {
		var errs []error
		for h := range int32(3) {
			errs = append(errs, writeBlock(tx, written+1+h))
		}
		return errs[0]
	}
	if err := s.Update(t.Context(), big); err == nil {
		t.Error("full still: no error")
	}
	swallowed := func(tx index.Tx) error {
		for h := range int32(20) {
			_ = writeBlock(tx, written+1+h)
			_ = tx.PutNames([]*nprotocol.Name{{Name: "after"}})
		}
		return nil
	}
	if err := s.Update(t.Context(), swallowed); err == nil {
		t.Error("full still, the error not looked at: no error")
	}
	check("full still")
	limit(1 << 30)
	if err := s.Update(t.Context(), func(tx index.Tx) error { return writeBlock(tx, written+1) }); err != nil {
		t.Fatalf("with room again: %v", err)
	}
	written++
	check("with room again")
}

// A transaction that commit refuses doesn't stay open.
func TestCommitFails(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "index.db"))
	defer s.Close()
	err := s.Update(t.Context(), func(tx index.Tx) error {
		if err := writeBlock(tx, 0); err != nil {
			return err
		}
		return tx.CutBlocks(-1) // under its confirmed frames
	})
	if err == nil {
		t.Fatal("frames confirmed in no block: no error")
	}
	if tip, frames, events := state(t, s); tip != -1 || frames != 0 || events != 0 {
		t.Errorf("left behind: tip %d, %d frames, %d events", tip, frames, events)
	}
	if err := s.Update(t.Context(), func(tx index.Tx) error { return writeBlock(tx, 0) }); err != nil {
		t.Errorf("after it: %v", err)
	}
	if err := s.View(t.Context(), func(index.View) error { return errors.New("mine") }); err == nil || err.Error() != "mine" {
		t.Errorf("got %v, want the reader's own error", err)
	}
}
