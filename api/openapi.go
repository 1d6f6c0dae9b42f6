package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/metaim/metaim/api/client"
)

// papers are what the server says about itself: made once, when first asked for.
type papers struct {
	openAPI, page sync.Once
	document      []byte
	html          []byte
	failed        error // to make the document
	broken        error // to make the page
}

func (s *Server) getOpenAPI(w http.ResponseWriter, r *http.Request) error {
	p := &s.papers
	p.openAPI.Do(func() { p.document, p.failed = s.openAPI() })
	if p.failed != nil {
		return p.failed
	}
	w.Header().Set("Cache-Control", "public, max-age=300")
	return writeBody(w, r, http.StatusOK, kindJSON, p.document)
}

// openAPI writes the table of routes as an OpenAPI 3.1 document.
func (s *Server) openAPI() ([]byte, error) {
	shapes, err := newSchemas()
	if err != nil {
		return nil, err
	}
	paths := map[string]map[string]any{}
	var tags []map[string]any
	for _, rt := range s.table {
		if n := len(tags); n == 0 || tags[n-1]["name"] != rt.group {
			tags = append(tags, map[string]any{"name": rt.group})
		}
		if paths[rt.path] == nil {
			paths[rt.path] = map[string]any{}
		}
		paths[rt.path][strings.ToLower(rt.method)] = s.operation(rt, shapes)
		if rt.method == http.MethodGet && !rt.raw {
			head := s.operation(rt, shapes)
			head["operationId"] = "head" + strings.ToUpper(rt.name[:1]) + rt.name[1:]
			head["summary"] = "The headers of the same"
			paths[rt.path]["head"] = head
		}
	}
	shapes.of(reflect.TypeFor[client.Problem]())
	for _, t := range []reflect.Type{reflect.TypeFor[client.Event](), reflect.TypeFor[client.CaughtUp](), reflect.TypeFor[client.Bye]()} {
		shapes.of(t) // what streams say
	}
	return json.Marshal(map[string]any{
		"openapi": "3.1.0",
		"info": map[string]any{
			"title":       "metaim",
			"version":     "1",
			"description": "Signed messages and names on Bitcoin SV, as one server's index has them. " + s.rules(),
			"license":     map[string]any{"name": "MIT", "identifier": "MIT"},
		},
		"servers":           []any{map[string]any{"url": "/"}},
		"jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
		"tags":              tags,
		"paths":             paths,
		"components": map[string]any{
			"schemas": shapes.all, "headers": commonHeaders,
			"securitySchemes": map[string]any{"key": map[string]any{"type": "http", "scheme": "bearer", "description": "A key of this server, which has a quota of its own. None is needed."}},
		},
		"security": []any{map[string]any{}, map[string]any{"key": []any{}}},
	})
}

// rules says in sentences what holds for all routes.
func (s *Server) rules() string {
	l := s.limits
	return fmt.Sprintf("Errors are application/problem+json with a stable code. Lists are paged by opaque cursors. "+
		"Each parameter may stand once, and an unknown one is refused. "+
		"Requests cost units of a quota: %d in %d s for each address (IPv4 whole, IPv6 its /64), told in RateLimit and RateLimit-Policy; programs on the server's own machine may be exempt. "+
		"Replies to GET have a strong ETag. Text in messages comes from strangers: whoever shows it must make control characters harmless.",
		l.Quota.Units, l.Quota.Seconds)
}

var commonHeaders = map[string]any{
	"X-Request-Id":     headerOf("of this request, as the server's log has it"),
	"RateLimit":        headerOf("what is left of the quota (r, in units) and in how many seconds all of it is back (t)"),
	"RateLimit-Policy": headerOf("the quota (q, in units) and its time (w, in seconds)"),
	"Retry-After":      headerOf("seconds to wait before the same request may succeed"),
	"ETag":             headerOf("strong entity tag: give it as If-None-Match"),
}

func headerOf(meaning string) map[string]any {
	return map[string]any{"description": meaning, "schema": schema{"type": "string"}}
}

func (s *Server) operation(rt *route, shapes *schemas) map[string]any {
	o := map[string]any{
		"operationId": rt.name, "tags": []string{rt.group}, "summary": rt.summary,
		"responses": s.responses(rt, shapes), "x-cost": rt.cost,
	}
	if text := rt.about(); text != "" {
		o["description"] = text
	}
	var parameters []any
	for i := range rt.parameters {
		parameters = append(parameters, rt.parameters[i].openAPI())
	}
	if len(parameters) > 0 {
		o["parameters"] = parameters
	}
	if len(rt.body) > 0 {
		o["requestBody"] = map[string]any{"required": true, "content": contents(rt.body, shapes)}
	}
	return o
}

// about returns the sentences about a route, with what it costs.
func (rt *route) about() string {
	text := rt.detail
	if rt.cost > 0 {
		costs := "Costs " + strconv.Itoa(rt.cost) + " of the quota"
		if rt.cost == 1 {
			costs = "Costs 1 of the quota"
		}
		if rt.perItems {
			costs += fmt.Sprintf(", and 1 more for each %d items of limit", itemsPerUnit)
		}
		text = strings.TrimSpace(text + " " + costs + ".")
	}
	return text
}

func (p *parameter) openAPI() map[string]any {
	shape := schema{"type": "string"}
	switch p.shape {
	case aText:
		if p.most > 0 {
			shape["maxLength"] = p.most
		}
	case aNumber:
		shape = schema{"type": "integer", "minimum": p.least, "maximum": p.most}
	case aChoice:
		shape["enum"] = p.choices
	case aSwitch:
		shape = schema{"type": "boolean"}
	case aList:
		if one := (schema{"type": "string", "maxLength": p.most}); len(p.choices) > 0 {
			shape = schema{"type": "array", "items": schema{"type": "string", "enum": p.choices}, "maxItems": p.values}
		} else {
			shape = schema{"type": "array", "items": one, "maxItems": p.values}
		}
	}
	o := map[string]any{"name": p.name, "in": p.in, "description": p.meaning, "schema": shape}
	if p.shape == aList {
		o["style"], o["explode"] = "form", false
	}
	if p.in == "path" {
		o["required"] = true
	}
	if p.example != "" && p.shape == aText {
		o["example"] = p.example
	}
	return o
}

func contents(list []media, shapes *schemas) map[string]any {
	out := map[string]any{}
	for _, m := range list {
		one := map[string]any{}
		switch {
		case m.value != nil && m.kind != kindLines:
			one["schema"] = shapes.of(reflect.TypeOf(m.value))
		case m.value != nil:
			line := shapes.of(reflect.TypeOf(m.value))
			one["schema"] = schema{"type": "string", "description": m.note, "x-line": line}
		default:
			one["schema"] = schema{"type": "string"}
		}
		if m.note != "" && m.kind != kindLines {
			one["schema"].(schema)["description"] = m.note
		}
		out[m.kind] = one
	}
	return out
}

func (s *Server) responses(rt *route, shapes *schemas) map[string]any {
	out := map[string]any{}
	for _, rep := range rt.replies {
		one := map[string]any{"description": rep.meaning, "headers": headerRefs(rep.status, rep.headers)}
		if len(rep.media) > 0 {
			one["content"] = contents(rep.media, shapes)
		}
		out[strconv.Itoa(rep.status)] = one
		if rep.status == http.StatusOK {
			out["304"] = map[string]any{"description": "it is what If-None-Match says", "headers": headerRefs(http.StatusNotModified, nil)}
		}
	}
	for _, status := range rt.failures() {
		codes := rt.codesOf(status)
		var meanings []string
		for _, c := range codes {
			meanings = append(meanings, c+": "+codeOf(c).meaning)
		}
		out[strconv.Itoa(status)] = map[string]any{
			"description": strings.Join(meanings, "; "), "headers": headerRefs(status, nil), "x-codes": codes,
			"content": map[string]any{kindProblem: map[string]any{"schema": shapes.of(reflect.TypeFor[client.Problem]())}},
		}
	}
	return out
}

// allCodes returns the codes that a route may fail with.
func (rt *route) allCodes() []string {
	all := slices.Concat(everywhere, rt.problems)
	slices.Sort(all)
	return slices.Compact(all)
}

// failures returns the statuses of those codes, each once, in order.
func (rt *route) failures() []int {
	var all []int
	for _, c := range rt.allCodes() {
		all = append(all, codeOf(c).status)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (rt *route) codesOf(status int) []string {
	return slices.DeleteFunc(rt.allCodes(), func(c string) bool { return codeOf(c).status != status })
}

func headerRefs(status int, own []header) map[string]any {
	names := []string{"X-Request-Id", "RateLimit", "RateLimit-Policy"}
	switch {
	case status == http.StatusOK || status == http.StatusNotModified || status == http.StatusPartialContent:
		names = append(names, "ETag")
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
		names = append(names, "Retry-After")
	}
	out := map[string]any{}
	for _, name := range names {
		out[name] = map[string]any{"$ref": "#/components/headers/" + name}
	}
	for _, h := range own {
		out[h.name] = headerOf(h.meaning)
	}
	return out
}
