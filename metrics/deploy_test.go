package metrics_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

var deploy = filepath.Join("..", "deploy")

func read(t *testing.T, elem ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(append([]string{deploy}, elem...)...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A dashboard is what of Grafana's model is looked at.
type dashboard struct {
	UID, Title string
	Panels     []struct {
		ID      int
		Type    string
		Title   string
		GridPos struct{ H, W, X, Y int }
		Targets []struct{ RefID, Expr, LegendFormat string }
	}
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	var d dashboard
	if err := json.Unmarshal(read(t, "grafana", "metaim.json"), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

type rules struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Alert, Expr, For    string
			Labels, Annotations map[string]string
		}
	}
}

func readRules(t *testing.T) rules {
	t.Helper()
	var r rules
	d := yaml.NewDecoder(bytes.NewReader(read(t, "prometheus", "alerts.yml")))
	d.KnownFields(true)
	if err := d.Decode(&r); err != nil {
		t.Fatal(err)
	}
	return r
}

var (
	quoted = regexp.MustCompile(`"[^"]*"`)
	metric = regexp.MustCompile(`\b(metaim|go|process)_[a-z0-9_]+`)
)

// used returns the metrics that an expression names.
func used(expr string) []string { return metric.FindAllString(quoted.ReplaceAllString(expr, ""), -1) }

// known returns the names under which the registry's series are found, and of each
// family its labels.
func known(t *testing.T) (families map[string]bool, series map[string]bool) {
	t.Helper()
	all, err := full(t).Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	families, series = map[string]bool{}, map[string]bool{}
	for _, f := range all {
		families[f.GetName()] = true
		series[f.GetName()] = true
		if f.GetMetric()[0].GetHistogram() != nil {
			for _, end := range []string{"_bucket", "_sum", "_count"} {
				series[f.GetName()+end] = true
			}
			delete(series, f.GetName()) // there is no series of this name
		}
	}
	return families, series
}

// TestDashboardAndAlertsUseWhatIsThere: a metric that is renamed leaves no panel
// and no alert behind that never shows anything; and the dashboard shows every
// metric of ours.
func TestDashboardAndAlertsUseWhatIsThere(t *testing.T) {
	families, series := known(t)
	shown := map[string]bool{}
	check := func(where, expr string) {
		names := used(expr)
		if len(names) == 0 {
			t.Errorf("%s: %q names no metric", where, expr)
		}
		for _, name := range names {
			shown[name] = true
			if !series[name] {
				t.Errorf("%s: there is no series %s", where, name)
			}
		}
		if strings.Count(expr, "(") != strings.Count(expr, ")") || strings.Count(expr, "{") != strings.Count(expr, "}") {
			t.Errorf("%s: brackets don't match in %q", where, expr)
		}
	}
	d := readDashboard(t)
	ids := map[int]bool{}
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("panel %q: another one has number %d", p.Title, p.ID)
		}
		ids[p.ID] = true
		if p.Type != "row" && len(p.Targets) == 0 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %q shows nothing or doesn't fit", p.Title)
		}
		for _, target := range p.Targets {
			check("panel "+p.Title, target.Expr)
		}
	}
	for name := range families {
		base := strings.HasPrefix(name, "metaim_")
		if base && !shown[name] && !shown[name+"_bucket"] && !shown[name+"_count"] {
			t.Errorf("no panel shows %s", name)
		}
	}
	r := readRules(t)
	if len(r.Groups) != 1 || len(r.Groups[0].Rules) < 10 {
		t.Fatalf("got %d groups of alerts", len(r.Groups))
	}
	for _, a := range r.Groups[0].Rules {
		check("alert "+a.Alert, a.Expr)
		if a.Labels["severity"] == "" || a.Annotations["summary"] == "" || a.Annotations["description"] == "" {
			t.Errorf("alert %s says too little: %v %v", a.Alert, a.Labels, a.Annotations)
		}
	}
}

// TestPrometheusReadsTheAlerts: the configuration names the file and the job that
// dashboard and alerts look for.
func TestPrometheusReadsTheAlerts(t *testing.T) {
	var c struct {
		Global  map[string]string `yaml:"global"`
		Rules   []string          `yaml:"rule_files"`
		Scrapes []struct {
			Job     string `yaml:"job_name"`
			Targets []struct {
				Targets []string `yaml:"targets"`
			} `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	d := yaml.NewDecoder(bytes.NewReader(read(t, "prometheus", "prometheus.yml")))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil {
		t.Fatal(err)
	}
	if len(c.Rules) != 1 || c.Rules[0] != "alerts.yml" {
		t.Errorf("got rule files %v, want alerts.yml", c.Rules)
	}
	if len(c.Scrapes) != 1 || c.Scrapes[0].Job != "metaim" || len(c.Scrapes[0].Targets) != 1 {
		t.Errorf("got scrapes %+v, want one job metaim", c.Scrapes)
	}
}

// TestDocumentListsTheMetrics: docs/operations.md names every metric of ours, and
// none that isn't there.
func TestDocumentListsTheMetrics(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	families, _ := known(t)
	named := map[string]bool{}
	for _, name := range regexp.MustCompile("`(metaim_[a-z_]+)`").FindAllStringSubmatch(string(text), -1) {
		named[name[1]] = true
		if !families[name[1]] {
			t.Errorf("docs/operations.md names %s, which isn't there", name[1])
		}
	}
	for name := range families {
		if strings.HasPrefix(name, "metaim_") && !named[name] {
			t.Errorf("docs/operations.md doesn't name %s", name)
		}
	}
}
