package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSubmitSettings checks which ways are made of settings, and that no fault
// tells a token.
func TestSubmitSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte("a.example.org=s3cret-a\nb.example.org=s3cret=\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(t.TempDir(), "open")
	if err := os.WriteFile(open, []byte("s3cret"), 0o644); err != nil {
		t.Fatal(err)
	}
	const token, tokenFile = "METAIM_SUBMIT_TOKEN", "METAIM_SUBMIT_TOKEN_FILE"
	for _, tt := range []struct {
		name  string
		flags []string
		env   map[string]string
		want  string // names of the ways
		fault string
	}{
		{"nothing", nil, nil, "", ""},
		{"one", []string{"--submit", "arc:https://a.example.org"}, map[string]string{token: "s3cret"}, "arc a.example.org", ""},
		{"several flags", []string{"--submit", "arc:https://a.example.org", "--submit", "arcade:https://b.example.org"}, map[string]string{tokenFile: file},
			"arc a.example.org, arcade b.example.org", ""},
		{"joined by a comma", []string{"--submit", "mapi:https://a.example.org,arc:http://127.0.0.1:9"}, nil, "mapi a.example.org, arc 127.0.0.1:9", ""},
		{"environment", nil, map[string]string{"METAIM_SUBMIT": "arcade:https://b.example.org"}, "arcade b.example.org", ""},
		{"unknown kind", []string{"--submit", "pigeon:https://a.example.org"}, nil, "", "none of node, arc:URL"},
		{"no URL", []string{"--submit", "arc:a.example.org"}, nil, "", "no URL"},
		{"password in the URL", []string{"--submit", "arc:https://u:s3cret@a.example.org"}, nil, "", "apart from it"},
		{"token in clear", []string{"--submit", "arc:http://a.example.org"}, map[string]string{token: "s3cret"}, "", "use https"},
		{"whose token", []string{"--submit", "arc:https://a.example.org,arc:https://b.example.org"}, map[string]string{token: "s3cret"}, "", "whose each token is"},
		{"file that others can read", []string{"--submit", "arc:https://a.example.org"}, map[string]string{tokenFile: open}, "", "tokens of services"},
		{"node without one", []string{"--submit", "node"}, nil, "", "needs --node-rpc"},
		{"callback that is no URL", []string{"--submit", "arc:https://a.example.org", "--callback-url", "im.example.org"}, nil, "", "callback address"},
	} {
		env := map[string]string{"HOME": t.TempDir()}
		for name, value := range tt.env {
			env[name] = value
		}
		p, _, _ := testProgram(env)
		c := newServe(p)
		if err := c.ParseFlags(tt.flags); err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		got, err := submittingOf(c, p, &service{})
		switch {
		case (err == nil) != (tt.fault == ""), err != nil && !strings.Contains(err.Error(), tt.fault):
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.fault)
		case err != nil && strings.Contains(err.Error(), "s3cret"):
			t.Errorf("%s: the fault %q tells the secret", tt.name, err)
		}
		var names []string
		for _, w := range got.ways {
			names = append(names, w.Name)
		}
		if text := strings.Join(names, ", "); err == nil && text != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, text, tt.want)
		}
	}
}
