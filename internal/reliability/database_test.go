package reliability

import (
	"context"
	"testing"
	"time"

	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/internal/simchain"
	"github.com/metaim/metaim/internal/testpg"
)

// TestDatabaseDownAndBack stops the database under a follower, in order and as if
// the power had failed, lets the chain go on and turn around meanwhile, and
// starts it again: the follower goes on by itself, and the index says what one
// says that never stopped.
func TestDatabaseDownAndBack(t *testing.T) {
	server := testpg.Start(t, testpg.Durable())
	store := backends[1].open(t, server.URL(t))
	defer closeStore(t, store)
	tree := simchain.NewTree()
	town := newTown(41)
	source := simchain.NewSource(tree)
	follower := newFollower(t, store, source)
	tip := town.extend(tree, tree.Genesis, 5, 4)
	for round := range pick(4, 20) {
		source.SetTips(tip)
		if err := catchUp(follower.Sync); err != nil {
			t.Fatal(err)
		}
		server.Stop(t, round%2 == 0)
		if round%3 == 2 {
			tip = town.extend(tree, tip.Ancestor(tip.Height-2), 4, 4)
		} else {
			tip = town.extend(tree, tip, 2, 4)
		}
		source.SetTips(tip)
		if err := follower.Sync(context.Background()); err == nil {
			t.Fatalf("round %d: blocks were saved without a database", round)
		}
		if err := follower.Take(context.Background(), [][]byte{town.transaction()}); err == nil {
			t.Fatalf("round %d: a transaction was saved without a database", round)
		}
		server.Start(t)
		start := time.Now()
		if err := catchUp(follower.Sync); err != nil {
			t.Fatal(err)
		}
		t.Logf("round %d: caught up %v after the database was back", round, time.Since(start).Round(time.Millisecond))
		gotTip, got := whole(t, store)
		if wantTip, want := clean(t, tree, tip); gotTip != wantTip || got != want {
			t.Fatalf("round %d: tip %+v, want %+v; the exports are equal: %t", round, gotTip, wantTip, got == want)
		}
	}
}

// catchUp tries rounds until one succeeds, as the follower's own loop does.
func catchUp(sync func(context.Context) error) (err error) {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if err = sync(context.Background()); err == nil {
			return nil
		}
	}
	return err
}

// A slowStore takes its time for every write.
type slowStore struct {
	index.Store
	delay time.Duration
}

func (s slowStore) Update(ctx context.Context, write func(index.Tx) error) error {
	time.Sleep(s.delay)
	return s.Store.Update(ctx, write)
}

// TestSlowDisk follows a chain over a store whose every write takes long: slower,
// and the same.
func TestSlowDisk(t *testing.T) {
	tree := simchain.NewTree()
	town := newTown(42)
	tip := town.extend(tree, tree.Genesis, 10, 4)
	rival := town.extend(tree, tip.Ancestor(6), 8, 4)
	eachBackend(t, func(t *testing.T, b backend) {
		store := slowStore{b.open(t, b.spec(t)), 100 * time.Millisecond}
		defer closeStore(t, store)
		follow(t, store, tree, tip, rival)
		gotTip, got := whole(t, store)
		if wantTip, want := clean(t, tree, rival); gotTip != wantTip || got != want {
			t.Errorf("tip %+v, want %+v; the exports are equal: %t", gotTip, wantTip, got == want)
		}
	})
}

// TestSerialisationFailures lets the database refuse two of five blocks
// with a serialisation failure or a deadlock: each is tried again whole.
func TestSerialisationFailures(t *testing.T) {
	url := testpg.URL(t)
	store := backends[1].open(t, url)
	defer closeStore(t, store)
	testpg.Exec(t, url, `CREATE SEQUENCE attempts`, `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
		DECLARE n bigint := nextval('attempts');
		BEGIN
			IF n % 5 = 1 THEN RAISE SQLSTATE '40001'; ELSIF n % 5 = 2 THEN RAISE SQLSTATE '40P01'; END IF;
			RETURN NULL;
		END $$`, `CREATE TRIGGER refuse AFTER INSERT ON blocks FOR EACH STATEMENT EXECUTE FUNCTION refuse()`)
	tree := simchain.NewTree()
	town := newTown(43)
	source := simchain.NewSource(tree)
	follower := newFollower(t, store, source)
	tip, failed := tree.Genesis, 0
	for range 10 {
		tip = town.extend(tree, tip, 1, 3)
		source.SetTips(tip)
		for err := follower.Sync(context.Background()); err != nil; err = follower.Sync(context.Background()) {
			if failed++; failed > 100 {
				t.Fatalf("the follower doesn't get through: %v", err)
			}
		}
	}
	gotTip, got := whole(t, store)
	if wantTip, want := clean(t, tree, tip); gotTip != wantTip || got != want {
		t.Errorf("after %d failures: tip %+v, want %+v; the exports are equal: %t", failed, gotTip, wantTip, got == want)
	}
	if failed == 0 {
		t.Error("nothing failed: what was tried?")
	}
	t.Logf("%d transactions refused, and tried again", failed)
}
