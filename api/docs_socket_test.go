package api_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/metaim/metaim/api/client"
)

// TestDocumentedFrames decodes every example of a frame in docs/api.md strictly:
// by the type that the server and the Go client use, with no field unknown, and
// with no value that the type would leave out.
func TestDocumentedFrames(t *testing.T) {
	text, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## WebSocket `/v1/ws`\n")
	if !found {
		t.Fatal("docs/api.md has no section on the WebSocket")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	requests := []string{"hello", "sub", "mod", "unsub", "pub", "ping"}
	replies := []string{"welcome", "ok", "event", "caught_up", "err", "closed", "bye"}
	shown := map[string]int{}
	for i, block := range strings.Split(section, "```") {
		lines, isJSON := strings.CutPrefix(block, "json\n")
		if i%2 == 0 || !isJSON {
			continue
		}
		for line := range strings.Lines(lines) {
			var kind struct{ Type string }
			if err := json.Unmarshal([]byte(line), &kind); err != nil {
				t.Errorf("%s: %v", line, err)
				continue
			}
			shown[kind.Type]++
			var err error
			if slices.Contains(requests, kind.Type) {
				err = strictly(line, &client.Request{})
			} else {
				err = strictly(line, &client.Reply{})
			}
			if err != nil {
				t.Errorf("%s: %v", line, err)
			}
		}
	}
	for _, kind := range slices.Concat(requests, replies) {
		if shown[kind] == 0 {
			t.Errorf("docs/api.md has no example of %q", kind)
		}
	}
	if len(shown) != len(requests)+len(replies) {
		t.Errorf("types of examples: got %v, want %v and %v", shown, requests, replies)
	}
}

// strictly decodes one JSON value, and checks that what it says comes back.
func strictly(text string, into any) error {
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the value")
	}
	again, err := json.Marshal(into)
	if err != nil {
		return err
	}
	var given, got map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal([]byte(text), &given), json.Unmarshal(again, &got)); err != nil {
		return err
	}
	for name, value := range given {
		var a, b any
		if err := errors.Join(json.Unmarshal(value, &a), json.Unmarshal(got[name], &b)); err != nil {
			return err
		}
		if _, plain := a.(map[string]any); !plain && !bytes.Equal(asText(a), asText(b)) {
			return errors.New(name + " doesn't come back as it was given")
		}
	}
	return nil
}

func asText(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return nil // it was JSON before
	}
	return b
}
