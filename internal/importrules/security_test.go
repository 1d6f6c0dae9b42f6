package importrules

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	namedTest = regexp.MustCompile("`([a-z0-9/]+)\\.((?:Test|Fuzz)[A-Za-z0-9]+)`")
	tableRow  = regexp.MustCompile(`^\| (.+) \| (.+) \|$`)
)

// missingTests returns what a page claims without naming a test, and the tests
// that it names and has says there aren't. claims is how many rows were looked at.
func missingTests(page string, has func(folder, test string) bool) (missing []string, claims int) {
	claiming := false
	for line := range strings.Lines(page) {
		row := tableRow.FindStringSubmatch(strings.TrimSpace(line))
		switch {
		case row == nil:
			claiming = false
			continue
		case row[2] == "shown by":
			claiming = true
			continue
		case !claiming || strings.HasPrefix(row[1], "---"):
			continue
		}
		claims++
		named := namedTest.FindAllStringSubmatch(row[2], -1)
		if len(named) != strings.Count(row[2], "`")/2 || len(named) == 0 {
			missing = append(missing, "not a list of tests: "+row[2])
		}
		for _, n := range named {
			if !has(n[1], n[2]) {
				missing = append(missing, n[1]+"."+n[2])
			}
		}
	}
	return missing, claims
}

// TestSecurityClaims: every claim of docs/security.md names tests, and they are
// there.
func TestSecurityClaims(t *testing.T) {
	root := filepath.Join("..", "..")
	page, err := os.ReadFile(filepath.Join(root, "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	sources := map[string]string{}
	has := func(folder, test string) bool {
		if _, ok := sources[folder]; !ok {
			files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(folder), "*_test.go"))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				text, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				sources[folder] += string(text)
			}
		}
		return strings.Contains(sources[folder], "\nfunc "+test+"(")
	}
	missing, claims := missingTests(string(page), has)
	for _, m := range missing {
		t.Errorf("docs/security.md: no such test, or no test: %s", m)
	}
	if claims < 30 {
		t.Errorf("docs/security.md: got %d claims, want 30 or more: were its tables read?", claims)
	}
}

func TestMissingTests(t *testing.T) {
	has := func(folder, test string) bool { return folder == "a/b" && test == "TestC" }
	head := "| claim | shown by |\n| --- | --- |\n"
	for _, test := range []struct {
		name, page string
		missing    int
		claims     int
	}{
		{"shown", head + "| x | `a/b.TestC` |\n", 0, 1},
		{"by none", head + "| x | nothing |\n", 1, 1},
		{"by one that isn't there", head + "| x | `a/b.TestC`, `a/b.TestD` |\n", 1, 1},
		{"by what is no test", head + "| x | `a/b.TestC`, `a/b.go` |\n", 1, 1},
		{"another table", "| what | where |\n| --- | --- |\n| x | y |\n", 0, 0},
		{"two tables", head + "| x | `a/b.TestC` |\n\n| what | where |\n| --- | --- |\n| x | y |\n", 0, 1},
	} {
		missing, claims := missingTests(test.page, has)
		if len(missing) != test.missing || claims != test.claims {
			t.Errorf("%s: got %q of %d claims, want %d of %d", test.name, missing, claims, test.missing, test.claims)
		}
	}
}
