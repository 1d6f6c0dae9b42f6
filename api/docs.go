package api

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/metaim/metaim/api/client"
)

var (
	//go:embed docs.html
	docsHTML string
	//go:embed docs.css
	docsCSS string

	docsTemplate = template.Must(template.New("docs").Parse(docsHTML))
)

// docsPolicy lets the page have its own style and nothing else.
var docsPolicy = func() string {
	sum := sha256.Sum256([]byte(docsCSS))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}()

// getDocs gives the table of routes as a page for people.
func (s *Server) getDocs(w http.ResponseWriter, r *http.Request) error {
	p := &s.papers
	p.page.Do(func() { p.html, p.broken = s.docs() })
	if p.broken != nil {
		return p.broken
	}
	h := w.Header()
	h.Set("Content-Security-Policy", docsPolicy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "public, max-age=300")
	return writeBody(w, r, http.StatusOK, kindHTML, p.html)
}

// What the template shows.
type (
	docsPage struct {
		Style                   template.CSS
		Rules, Network, Version string
		Routes                  []docsRoute
		Codes                   []docsCode
		Shapes                  []docsShape
	}
	docsRoute struct {
		Group, Name, Method, Path, Summary, About, Try string
		Parameters                                     []docsParameter
		Body                                           []docsMedia
		Replies                                        []docsReply
		Failures                                       []docsFailure
	}
	docsParameter struct{ Name, In, Meaning, Shape, Example string }
	docsMedia     struct{ Kind, Note, Shape string }
	docsReply     struct {
		Status  int
		Meaning string
		Media   []docsMedia
	}
	docsFailure struct {
		Status int
		Codes  []string
	}
	docsCode struct {
		Code, Meaning string
		Status        int
	}
	docsShape struct {
		Name, Note string
		Fields     []docsField
	}
	docsField struct {
		Name, Type, Shape, Note string
		Required                bool
	}
)

func (s *Server) docs() ([]byte, error) {
	shapes, err := newSchemas()
	if err != nil {
		return nil, err
	}
	page := docsPage{Style: template.CSS(docsCSS), Rules: s.rules(), Network: string(s.network), Version: s.cfg.Version} // #nosec G203 -- the style is our own, embedded
	group := ""
	for _, rt := range s.table {
		shown := rt.docs(shapes)
		if rt.group == group {
			shown.Group = ""
		}
		group = rt.group
		page.Routes = append(page.Routes, shown)
	}
	for _, c := range codes {
		page.Codes = append(page.Codes, docsCode{c.code, c.meaning, c.status})
	}
	shapes.of(reflect.TypeFor[client.Problem]())
	shapes.of(reflect.TypeFor[client.Bye]())
	shapes.of(reflect.TypeFor[client.CaughtUp]())
	for _, name := range slices.Sorted(maps.Keys(shapes.all)) {
		page.Shapes = append(page.Shapes, docsShapeOf(name, shapes.all[name]))
	}
	var out bytes.Buffer
	err = docsTemplate.Execute(&out, page)
	return out.Bytes(), err
}

func (rt *route) docs(shapes *schemas) docsRoute {
	d := docsRoute{Group: rt.group, Name: rt.name, Method: rt.method, Path: rt.path, Summary: rt.summary, About: rt.about(), Try: rt.try}
	for _, p := range rt.parameters {
		d.Parameters = append(d.Parameters, docsParameter{p.name, p.in, p.meaning, p.bounds(), p.example})
	}
	d.Body = docsMediaOf(rt.body, shapes)
	for _, rep := range rt.replies {
		d.Replies = append(d.Replies, docsReply{rep.status, rep.meaning, docsMediaOf(rep.media, shapes)})
	}
	for _, status := range rt.failures() {
		d.Failures = append(d.Failures, docsFailure{status, rt.codesOf(status)})
	}
	return d
}

// bounds says in words what a parameter may be.
func (p *parameter) bounds() string {
	switch p.shape {
	case aNumber:
		return fmt.Sprintf("%d to %d", p.least, p.most)
	case aChoice:
		return strings.Join(p.choices, " or ")
	case aSwitch:
		return "true or false"
	case aList:
		return fmt.Sprintf("up to %d, joined by commas", p.values)
	}
	return ""
}

func docsMediaOf(list []media, shapes *schemas) []docsMedia {
	var out []docsMedia
	for _, m := range list {
		shown := docsMedia{Kind: m.kind, Note: m.note}
		if m.value != nil && reflect.TypeOf(m.value).Kind() == reflect.Struct {
			shapes.of(reflect.TypeOf(m.value))
			shown.Shape = nameOf(reflect.TypeOf(m.value))
		}
		out = append(out, shown)
	}
	return out
}

func docsShapeOf(name string, of schema) docsShape {
	shown := docsShape{Name: name}
	shown.Note, _ = of["description"].(string)
	properties, _ := of["properties"].(schema)
	required, _ := of["required"].([]string)
	for _, field := range slices.Sorted(maps.Keys(properties)) {
		one, _ := properties[field].(schema)
		f := docsField{Name: field, Required: slices.Contains(required, field)}
		f.Type, f.Shape = docsTypeOf(one)
		f.Note, _ = one["description"].(string)
		shown.Fields = append(shown.Fields, f)
	}
	return shown
}

// docsTypeOf names a type in words, and the shape that it refers to.
func docsTypeOf(one schema) (text, shape string) {
	if ref, ok := one["$ref"].(string); ok {
		return "", ref[strings.LastIndexByte(ref, '/')+1:]
	}
	if items, ok := one["items"].(schema); ok {
		text, shape = docsTypeOf(items)
		return "list of " + text, shape
	}
	if _, ok := one["contentEncoding"]; ok {
		return "base64", ""
	}
	text, _ = one["type"].(string)
	return text, ""
}
