package improtocol_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const specFolder = "../docs/spec"

// specTitles returns the section titles of each page of the specification.
func specTitles(t *testing.T) map[string][]string {
	t.Helper()
	pages, err := filepath.Glob(filepath.Join(filepath.FromSlash(specFolder), "*.md"))
	if err != nil || len(pages) < 4 {
		t.Fatalf("%d pages of the specification, %v", len(pages), err)
	}
	titles := map[string][]string{}
	for _, page := range pages {
		for line := range strings.Lines(readPage(t, page)) {
			if title, ok := strings.CutPrefix(line, "## "); ok {
				titles[filepath.Base(page)] = append(titles[filepath.Base(page)], strings.TrimSpace(title))
			}
		}
	}
	return titles
}

func readPage(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// goFiles parses every Go file of the project.
func goFiles(t *testing.T, visit func(path string, file *ast.File)) {
	t.Helper()
	set := token.NewFileSet()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || len(d.Name()) > 2 && d.Name()[0] == '.') {
			return filepath.SkipDir
		}
		if d.IsDir() || filepath.Ext(path) != ".go" {
			return nil
		}
		file, err := parser.ParseFile(set, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		visit(path, file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

var (
	reference = regexp.MustCompile(`docs/spec(?:/([a-z]+\.md))?(?:, "([^"]+)")?`)
	linked    = regexp.MustCompile(`\]\(([a-z]+\.md)\)(?:, "([^"]+)")?`)
	testName  = regexp.MustCompile("`((?:Test|Fuzz)[A-Z][A-Za-z0-9]*)`")
)

// TestSpecReferences: every page and section of the specification that a comment
// in the code names is there.
func TestSpecReferences(t *testing.T) {
	titles := specTitles(t)
	found := 0
	goFiles(t, func(path string, file *ast.File) {
		for _, group := range file.Comments {
			text := strings.Join(strings.Fields(group.Text()), " ") // a title may be broken over two lines
			for _, m := range reference.FindAllStringSubmatch(text, -1) {
				found++
				checkReference(t, titles, path, m[1], m[2])
			}
		}
	})
	if found < 15 {
		t.Errorf("only %d references were found", found)
	}
}

// TestSpecLinks: the pages refer to each other's sections rightly.
func TestSpecLinks(t *testing.T) {
	titles := specTitles(t)
	for page := range titles {
		text := strings.Join(strings.Fields(readPage(t, filepath.Join(specFolder, page))), " ")
		for _, m := range linked.FindAllStringSubmatch(text, -1) {
			checkReference(t, titles, page, m[1], m[2])
		}
	}
}

func checkReference(t *testing.T, titles map[string][]string, from, page, title string) {
	t.Helper()
	var all []string
	for name, list := range titles {
		if page == "" || name == page {
			all = append(all, list...)
		}
	}
	if len(all) == 0 {
		t.Errorf("%s names the page %q, which isn't in the specification", from, page)
	} else if title != "" && !slices.Contains(all, title) {
		t.Errorf("%s names the section %q of %q, which has %q", from, title, page, all)
	}
}

// TestSpecNamesTests: every section names a test that checks it, and every test
// named exists.
func TestSpecNamesTests(t *testing.T) {
	tests := map[string]bool{}
	goFiles(t, func(path string, file *ast.File) {
		if !strings.HasSuffix(path, "_test.go") {
			return
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
				tests[f.Name.Name] = true
			}
		}
	})
	for page := range specTitles(t) {
		sections := strings.Split(readPage(t, filepath.Join(specFolder, page)), "\n## ")
		for _, section := range sections[1:] {
			title, _, _ := strings.Cut(section, "\n")
			names := testName.FindAllStringSubmatch(section, -1)
			if len(names) == 0 {
				t.Errorf("%s, %q, names no test", page, title)
			}
			for _, m := range names {
				if !tests[m[1]] {
					t.Errorf("%s, %q, names the test %s, which isn't there", page, title, m[1])
				}
			}
		}
	}
}

// TestGoldenHashesInSpec: the hashes that the specification gives as examples
// are those that the tests of the index hold.
func TestGoldenHashesInSpec(t *testing.T) {
	hashes := regexp.MustCompile("`([0-9a-f]{64})`").FindAllStringSubmatch(readPage(t, filepath.Join(specFolder, "index.md")), -1)
	if len(hashes) == 0 {
		t.Fatal("the specification gives no hashes")
	}
	golden := readPage(t, filepath.Join("..", "index", "statehash_test.go"))
	for _, m := range hashes {
		if !strings.Contains(golden, m[1]) {
			t.Errorf("%s isn't a hash of the tests", m[1])
		}
	}
}
