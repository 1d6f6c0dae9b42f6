package api_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

var update = flag.Bool("update", false, "write api/notes.json anew from the doc comments")

// sources are the files that have types which the API shows.
func sources(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("client/*.go")
	if err != nil {
		t.Fatal(err)
	}
	files = slices.DeleteFunc(files, func(f string) bool { return strings.HasSuffix(f, "_test.go") })
	return append(files, "transactions.go")
}

// sentence makes a doc comment one line, without the brackets of its links.
func sentence(groups ...*ast.CommentGroup) string {
	var parts []string
	for _, g := range groups {
		if text := strings.Join(strings.Fields(g.Text()), " "); text != "" {
			parts = append(parts, text)
		}
	}
	return strings.NewReplacer("[", "", "]", "").Replace(strings.Join(parts, " "))
}

// notes reads the doc comments of structs and of their fields that have a name in
// JSON.
func notes(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, path := range sources(t) {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.TYPE {
				continue
			}
			for _, spec := range g.Specs {
				noteType(all, g, spec.(*ast.TypeSpec))
			}
		}
	}
	return all
}

func noteType(all map[string]string, g *ast.GenDecl, spec *ast.TypeSpec) {
	shape, ok := spec.Type.(*ast.StructType)
	if !ok {
		return
	}
	name := strings.ToUpper(spec.Name.Name[:1]) + spec.Name.Name[1:]
	fields := map[string]string{}
	for _, f := range shape.Fields.List {
		if f.Tag == nil {
			continue
		}
		tag := reflect.StructTag(strings.Trim(f.Tag.Value, "`"))
		called, _, _ := strings.Cut(tag.Get("json"), ",")
		if text := sentence(f.Doc, f.Comment); called != "" && called != "-" && text != "" {
			fields[name+"."+called] = text
		}
	}
	for _, f := range shape.Fields.List {
		if f.Tag != nil {
			all[name] = sentence(g.Doc, spec.Doc)
			maps.Copy(all, fields)
			return
		}
	}
}

// The notes beside the code are those of the source: go test ./api -run
// TestNotesAreCurrent -update writes them.
func TestNotesAreCurrent(t *testing.T) {
	want, err := json.MarshalIndent(notes(t), "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile("notes.json", want, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("notes.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("notes.json isn't what the doc comments say: run go test ./api -run TestNotesAreCurrent -update")
	}
}

// document asks a server for its OpenAPI document.
func (s *served) document(t *testing.T) map[string]any {
	t.Helper()
	resp, body := s.get(t, "/openapi.json")
	equal(t, "status", resp.StatusCode, 200)
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return doc.(map[string]any)
}

func TestOpenAPIDocumentIsValid(t *testing.T) {
	doc := newWorld(t).serve().document(t)
	f, err := os.Open("testdata/openapi-3.1.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read
	official, err := jsonschema.UnmarshalJSON(io.Reader(f))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("https://spec.openapis.org/oas/3.1/schema/2022-10-07", official); err != nil {
		t.Fatal(err)
	}
	valid, err := c.Compile("https://spec.openapis.org/oas/3.1/schema/2022-10-07")
	if err != nil {
		t.Fatal(err)
	}
	if err := valid.Validate(doc); err != nil {
		t.Errorf("the document isn't OpenAPI 3.1: %v", err)
	}
	names := map[string]bool{}
	for path, item := range doc["paths"].(map[string]any) {
		for method, o := range item.(map[string]any) {
			id := o.(map[string]any)["operationId"].(string)
			if names[id] {
				t.Errorf("%s %s: the operation id %s stands twice", method, path, id)
			}
			names[id] = true
		}
	}
	if len(names) < 20 {
		t.Errorf("only %d operations are described", len(names))
	}
	for name, one := range doc["components"].(map[string]any)["schemas"].(map[string]any) {
		if text, _ := one.(map[string]any)["description"].(string); text == "" {
			t.Errorf("the schema %s has no description", name)
		}
	}
}
