package simulate

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
)

// The long form plays 100,000 scenarios and tries every mutation.
var long = os.Getenv("METAIM_LONG") != ""

// TestScenarios plays scenarios with the product as it is, and makes sure that
// they went through what they are for.
func TestScenarios(t *testing.T) {
	runs := 40
	if long {
		runs = 100_000
	}
	stats, failure := Seeds(1, runs, nil)
	if failure != nil {
		t.Fatalf("seed %d: %v\n%s", failure.Seed, failure.Err, failure.Script)
	}
	t.Logf("%+v", stats)
	for what, n := range map[string]int{"reorganisations": stats.Reorganisations, "proofs": stats.Proofs, "faults": stats.Faults, "deaths": stats.Deaths} {
		if n == 0 {
			t.Errorf("%d runs had no %s", runs, what)
		}
	}
	for _, v := range frame.Verdicts {
		if stats.Verdicts[v] == 0 || long && stats.Provisional[v] == 0 {
			t.Errorf("verdict %s: got %d confirmed and %d unconfirmed in %d runs, want some", v, stats.Verdicts[v], stats.Provisional[v], runs)
		}
	}
}

// TestMutations makes mistakes in the product, which the simulator must find.
func TestMutations(t *testing.T) {
	short := []string{"nobody has to pay", "a copied record is stale", "disconnecting folds no records again"}
	found := 0
	for i := range Mutations {
		m := &Mutations[i]
		if !long && !strings.Contains(strings.Join(short, "\n"), m.Name) {
			continue
		}
		t.Run(m.Name, func(t *testing.T) {
			report, caught, err := Caught(t.Context(), t.TempDir(), m, 1000)
			if err != nil {
				t.Fatal(err)
			}
			if !caught {
				t.Fatalf("not found in 1,000 runs:\n%s", report)
			}
			found++
			t.Log(strings.SplitN(report, ":", 2)[0])
		})
	}
	if found < len(short) {
		t.Errorf("%d mutations found, want at least %d", found, len(short))
	}
}

// TestMutationsApply makes sure that the text of every mutation is in its file.
func TestMutationsApply(t *testing.T) {
	root, err := moduleFolder(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range Mutations {
		if _, err := overlay(root, t.TempDir(), append(fast[:len(fast):len(fast)], m.Patches...)); err != nil {
			t.Errorf("%s: %v", m.Name, err)
		}
	}
	if _, err := overlay(root, t.TempDir(), []Patch{{"go.mod", "no such text", ""}}); err == nil {
		t.Error("a patch of text that isn't there: no error")
	}
}

// TestSeeds makes sure that a seed says everything: the scenario, and what comes
// of it.
func TestSeeds(t *testing.T) {
	for seed := 1; seed < 8; seed++ {
		first, again := Scenarios.Example(seed), Scenarios.Example(seed)
		if first.String() != again.String() {
			t.Fatalf("seed %d: two scenarios:\n%s\n%s", seed, first, again)
		}
		one, err := Run(first)
		two, errTwo := Run(again)
		if err != nil || errTwo != nil {
			t.Fatalf("seed %d: %v, %v", seed, err, errTwo)
		}
		if one.Checks != two.Checks || one.Faults != two.Faults || one.Reorganisations != two.Reorganisations || one.Deaths != two.Deaths {
			t.Errorf("seed %d: got %+v, then %+v", seed, one, two)
		}
	}
}

// TestShrink breaks a scenario by a step that can't be, and looks whether the
// rest goes away.
func TestShrink(t *testing.T) {
	broken = func(op Op) bool { return op.Kind == opEvict }
	defer func() { broken = nil }()
	seed := 1
	for ; ; seed++ {
		if _, err := play(Scenarios.Example(seed)); err != nil {
			break
		}
	}
	small, err := Shrink(seed, 3*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if before := Scenarios.Example(seed); len(small.Script) > len(before) || len(small.Script) > 20 {
		t.Errorf("got %d steps of %d:\n%s", len(small.Script), len(before), small.Script)
	}
	if _, err := Run(small.Script); err == nil {
		t.Errorf("the small scenario shows no difference:\n%s", small.Script)
	}
	if _, err := Shrink(seed, time.Second); err != nil {
		t.Errorf("shrunk again: %v", err)
	}
	broken = nil
	if _, err := Shrink(seed, time.Second); err == nil {
		t.Error("a scenario that shows nothing was shrunk")
	}
}
