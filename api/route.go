package api

import (
	"context"
	"mime"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A route is one line of what the server offers. The mux, the check of a
// request, the OpenAPI document and the page for people are all made from it.
type route struct {
	method, path string
	name         string // operation id in the OpenAPI document
	group        string // heading that it stands under
	summary      string // one line
	detail       string // sentences; may be empty
	parameters   []parameter
	body         []media // of the request; none: it has no body
	replies      []reply
	problems     []string // codes that it fails with, beside those that every route may
	cost         int      // units of the quota; 0: free
	perItems     bool     // and one more for each itemsPerUnit asked for
	try          string   // path and query to look at it with; "": none
	raw          bool     // the handler takes the socket over
	any          bool     // whatever is accepted: the kind of content isn't the asker's choice
	serve        handler
}

// itemsPerUnit is how many items of a page cost one unit more.
const itemsPerUnit = 100

// A media is one form of a body: a value of a Go type written as JSON, or bytes.
type media struct {
	kind  string // media type
	value any    // of the Go type; nil: bytes
	note  string
}

// A reply is what a route answers with when it succeeds.
type reply struct {
	status  int
	meaning string
	media   []media // the first is given to those who accept anything
	headers []header
}

type header struct{ name, meaning string }

// A parameter is one of a route, in its path, its query or its headers.
type parameter struct {
	name, in string // path, query, header
	shape    shape
	least    int // of a number
	most     int // of a number; of a text its bytes, of a list those of each value
	values   int // of a list
	choices  []string
	code     string // of the problem when it is wrong; "": bad_query
	meaning  string
	example  string
}

type shape string

const (
	aText   shape = "text"
	aNumber shape = "number"
	aChoice shape = "choice"
	aList   shape = "list" // joined by commas
	aSwitch shape = "switch"
)

func (p *parameter) problemCode() string {
	if p.code == "" {
		return "bad_query"
	}
	return p.code
}

// check tells whether a value has the shape of the parameter. What it means only
// the handler knows.
func (p *parameter) check(value string) error {
	code := p.problemCode()
	switch {
	case !utf8.ValidString(value):
		return badRequest(code, "the parameter %s is not UTF-8", p.name)
	case value == "" && p.in == "query":
		return badRequest(code, "the parameter %s is empty", p.name)
	}
	switch p.shape {
	case aNumber:
		n, err := strconv.Atoi(value)
		if err != nil || n < p.least || n > p.most {
			return badRequest(code, "%s must be %d to %d", p.name, p.least, p.most)
		}
	case aChoice, aSwitch:
		return p.choice(value)
	case aList:
		return p.list(value)
	case aText:
		if len(value) > p.most {
			return badRequest(code, "the parameter %s may have %d bytes", p.name, p.most)
		}
	}
	return nil
}

func (p *parameter) choice(value string) error {
	choices := p.choices
	if p.shape == aSwitch {
		choices = []string{"true", "false"}
	}
	if slices.Contains(choices, value) {
		return nil
	}
	if len(value) > 64 {
		value = "given"
	}
	return badRequest(p.problemCode(), "%s %q is none of %s", p.name, value, strings.Join(choices, ", "))
}

func (p *parameter) list(value string) error {
	if n := strings.Count(value, ",") + 1; n > p.values {
		return badRequest("too_many", "the parameter %s may have %d values", p.name, p.values)
	}
	for one := range strings.SplitSeq(value, ",") {
		if one == "" {
			return badRequest(p.problemCode(), "a value of the parameter %s is empty", p.name)
		}
		if len(one) > p.most {
			return badRequest(p.problemCode(), "a value of the parameter %s may have %d bytes", p.name, p.most)
		}
		if len(p.choices) == 0 {
			continue
		}
		if err := p.choice(one); err != nil {
			return err
		}
	}
	return nil
}

// An asking is what the server finds out about a request before its handler.
type asking struct {
	id    string // of the request
	who   visitor
	quota *quota // nil: who asks is exempt
	query url.Values

	route    *route // nil: none takes it
	stream   bool   // the answer lasts as long as its reader wants
	upgraded bool   // it was turned into a WebSocket

	writes bool // who asks may hand in transactions
}

type askingKey struct{}

func askingOf(ctx context.Context) *asking {
	a, _ := ctx.Value(askingKey{}).(*asking)
	if a == nil {
		a = &asking{}
	}
	return a
}

func requestID(ctx context.Context) string { return askingOf(ctx).id }

// query returns the parameters of a request, which were checked against its
// route.
func query(r *http.Request) url.Values { return askingOf(r.Context()).query }

// answer checks a request against its route and hands it to the handler.
func (s *Server) answer(rt *route) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		a := askingOf(r.Context())
		a.route = rt
		q, err := rt.check(r)
		if err != nil {
			return first(s.charge(w, a, 1), err)
		}
		a.query = q
		if err := s.charge(w, a, rt.costOf(q, s.limits.PageDefault)); err != nil {
			return err
		}
		if err := rt.acceptable(r); err != nil {
			return err
		}
		return rt.serve(w, r)
	}
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (rt *route) costOf(q url.Values, pageDefault int) int {
	if !rt.perItems {
		return rt.cost
	}
	n := pageDefault
	if q.Has("limit") {
		n, _ = strconv.Atoi(q.Get("limit")) // it was checked
	}
	return rt.cost + n/itemsPerUnit
}

// check reads the parameters of a request: only those of the route, each once
// and of its shape.
func (rt *route) check(r *http.Request) (url.Values, error) {
	if !utf8.ValidString(r.URL.Path) {
		return nil, badRequest("bad_path", "the path is not UTF-8")
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badRequest("bad_query", "the query can't be read: a %% must be followed by two hexadecimal digits, and ; stands nowhere")
	}
	for name, values := range q {
		p := rt.parameter("query", name)
		switch {
		case p == nil && len(name) > 64:
			return nil, badRequest("bad_query", "there is no parameter of such a name here; there are: %s", rt.queryNames())
		case p == nil:
			return nil, badRequest("bad_query", "there is no parameter %q here; there are: %s", name, rt.queryNames())
		case len(values) > 1:
			return nil, badRequest("bad_query", "the parameter %s stands more than once", name)
		}
		if err := p.check(values[0]); err != nil {
			return nil, err
		}
	}
	for i := range rt.parameters {
		p := &rt.parameters[i]
		if p.in != "path" {
			continue
		}
		if err := p.check(r.PathValue(p.name)); err != nil {
			return nil, err
		}
	}
	return q, nil
}

func (rt *route) parameter(in, name string) *parameter {
	for i := range rt.parameters {
		if p := &rt.parameters[i]; p.in == in && p.name == name {
			return p
		}
	}
	return nil
}

func (rt *route) queryNames() string {
	var names []string
	for _, p := range rt.parameters {
		if p.in == "query" {
			names = append(names, p.name)
		}
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// kinds returns the media types that the route answers with.
func (rt *route) kinds() []string {
	var kinds []string
	for _, rep := range rt.replies {
		for _, m := range rep.media {
			kinds = append(kinds, m.kind)
		}
	}
	return kinds
}

func (rt *route) acceptable(r *http.Request) error {
	kinds := rt.kinds()
	if rt.any || len(kinds) == 0 || accepted(r, kinds...) != "" {
		return nil
	}
	return problem(http.StatusNotAcceptable, "not_acceptable", "this route answers with %s", strings.Join(kinds, ", "))
}

// accepted picks the media type that a request likes best of those offered, the
// earlier of equals; "" when it takes none of them.
func accepted(r *http.Request, offered ...string) string {
	lines := r.Header.Values("Accept")
	if strings.Join(lines, "") == "" {
		return offered[0]
	}
	best, most := "", 0.0
	for _, kind := range offered {
		if q := liking(lines, kind); q > most {
			best, most = kind, q
		}
	}
	return best
}

// liking returns the weight that Accept headers give a media type: that of the
// range that names it most closely.
func liking(lines []string, kind string) float64 {
	closest, weight := -1, 0.0
	for _, line := range lines {
		for one := range strings.SplitSeq(line, ",") {
			said, parameters, err := mime.ParseMediaType(one)
			if err != nil {
				continue
			}
			close := closeness(said, kind)
			if close <= closest {
				continue
			}
			q := 1.0
			if text, ok := parameters["q"]; ok {
				if q, err = strconv.ParseFloat(text, 64); err != nil || !(q >= 0 && q <= 1) {
					q = 0
				}
			}
			closest, weight = close, q
		}
	}
	return weight
}

func closeness(said, kind string) int {
	major, _, _ := strings.Cut(kind, "/")
	switch said {
	case kind:
		return 2
	case major + "/*":
		return 1
	case "*/*":
		return 0
	}
	return -1
}

// clean tells whether a path is written as the routes are: what isn't is no
// route, and nobody is sent elsewhere.
func clean(escaped string) bool {
	return escaped != "" && escaped[0] == '/' && (escaped == "/" || path.Clean(escaped) == strings.TrimSuffix(escaped, "/"))
}
