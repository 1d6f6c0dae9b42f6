package client_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/metaim/metaim/api/client"
)

func event(cursor string) string {
	return "id: " + cursor + "\ndata: {\"cursor\":\"" + cursor + "\",\"kind\":\"message.seen\"}\n\n"
}

// What a server may say on a stream, and what comes of it: the cursors yielded,
// and the error at the end.
func TestFollow(t *testing.T) {
	bye := "event: bye\ndata: {\"code\":\"shutting_down\",\"reconnect\":true,\"after_ms\":1}\n\n"
	end := "event: bye\ndata: {\"code\":\"done\",\"detail\":\"no more\",\"reconnect\":false}\n\n"
	for _, test := range []struct {
		name    string
		answers []string // one for each request
		asked   string   // cursors asked after
		want    string
		err     string
	}{
		{"events", []string{event("a") + event("b") + end}, "[]", "[a b]", "no more"},
		{"comments, unknown fields and line ends", []string{":\r\n\r\n: hi\nretry: 1\nother\n\n" + strings.ReplaceAll(event("a"), "\n", "\r\n") + end}, "[]", "[a]", "no more"},
		{"data in several lines", []string{"data: {\"cursor\":\ndata: \"a\"}\n\n" + end}, "[]", "[a]", "no more"},
		{"resumes after the last event", []string{event("a") + event("b"), event("c") + end}, "[ b]", "[a b c]", "no more"},
		{"resumes after bye", []string{event("a") + bye + event("never"), event("c") + end}, "[ a]", "[a c]", "no more"},
		{"resumes where history ended", []string{"event: caught_up\ndata: {\"cursor\":\"x\"}\n\n", end}, "[ x]", "[]", "no more"},
		{"an event that was cut off", []string{event("a") + "id: b\ndata: {\"cur", event("b") + end}, "[ a]", "[a b]", "no more"},
		{"an unknown event", []string{"event: news\ndata: x\n\n" + event("a") + end}, "[]", "[a]", "no more"},
		{"an event twice", []string{event("a") + event("a"), end}, "[ a]", "[a]", "no more"},
		{"an event without a cursor", []string{"data: {}\n\n" + event("a"), end}, "[ ]", "[]", "no more"},
		{"no JSON", []string{"data: <html>\n\n" + event("a"), end}, "[ ]", "[]", "no more"},
		{"a line without end", []string{strings.Repeat("x", 2000)}, "[]", "[]", client.ErrTooLarge.Error()},
		{"an event without end", []string{strings.Repeat("data: "+strings.Repeat("x", 100)+"\n", 20)}, "[]", "[]", client.ErrTooLarge.Error()},
		{"another media type", []string{"HTML"}, "[]", "[]", `the server answered with "text/html", not with events`},
		{"a problem for good", []string{"410"}, "[]", "[]", "made anew"},
		{"a problem for now", []string{"503", event("a") + end}, "[ ]", "[a]", "no more"},
	} {
		t.Run(test.name, func(t *testing.T) {
			asked := []string{}
			c := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if len(asked) == len(test.answers) {
					t.Errorf("a request too many, after %q", r.URL.Query().Get("after"))
					return
				}
				answer := test.answers[len(asked)]
				asked = append(asked, r.URL.Query().Get("after"))
				answerFollow(w, answer)
			})
			var got []string
			var failed error
			options := client.SubscribeOptions{MinBackoff: time.Millisecond, MaxBackoff: time.Millisecond}
			for e, err := range c.Follow(t.Context(), nil, options) {
				if failed = err; err == nil {
					got = append(got, e.Cursor)
				}
			}
			if fmt.Sprint(got) != test.want || failed == nil || !strings.Contains(failed.Error(), test.err) {
				t.Errorf("got %v and %v, want %s and %q", got, failed, test.want, test.err)
			}
			if len(asked) > 0 && asked[0] == "" && len(asked) == 1 {
				asked = nil
			}
			if fmt.Sprint(asked) != test.asked {
				t.Errorf("asked after: got %v, want %s", asked, test.asked)
			}
		})
	}
}

func answerFollow(w http.ResponseWriter, answer string) {
	switch answer {
	case "HTML":
		w.Header().Set("Content-Type", "text/html")
	case "410":
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusGone)
		answer = `{"code":"cursor_expired","detail":"made anew","cursor":"z"}`
	case "503":
		w.WriteHeader(http.StatusServiceUnavailable)
	default:
		w.Header().Set("Content-Type", "text/event-stream")
	}
	_, _ = io.WriteString(w, answer)
}

// A server that says nothing is left, and asked again.
func TestFollowLeavesASilentServer(t *testing.T) {
	requests := 0
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		if requests++; requests > 1 {
			_, _ = io.WriteString(w, event("a"))
			return
		}
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	lost := 0
	options := client.SubscribeOptions{MinBackoff: time.Millisecond, Silence: 50 * time.Millisecond, Lost: func(error, time.Duration) { lost++ }}
	for e, err := range c.Follow(t.Context(), &client.Filter{Address: []string{"x"}}, options) {
		if err != nil || e.Cursor != "a" {
			t.Errorf("got %q, %v, want a", e.Cursor, err)
		}
		break
	}
	if lost == 0 {
		t.Error("the loss wasn't told")
	}
}

func TestListsThatDontEnd(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"items":[{}],"next":"same","complete":false}`)
	})
	for name, end := range map[string]func() (int, error){
		"conversations": func() (int, error) {
			return drain(c.AllConversations(t.Context(), client.ConversationQuery{}))
		},
		"coins":    func() (int, error) { return drain(c.AllCoins(t.Context(), "x")) },
		"events":   func() (int, error) { return drain(c.AllEvents(t.Context(), nil, "")) },
		"messages": func() (int, error) { return drain(c.AllMessages(t.Context(), client.MessageQuery{})) },
	} {
		if n, err := end(); n != 2 || err == nil || err.Error() != "the server's pages don't end" {
			t.Errorf("%s: got %d items and %v, want 2 and that the pages don't end", name, n, err)
		}
	}
}

func drain[T any](list func(func(T, error) bool)) (n int, failed error) {
	for _, err := range list {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

func TestKeyIsShown(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{}`)
	})
	var p *client.Problem
	if _, err := c.Info(t.Context()); !errors.As(err, &p) || p.Status != http.StatusUnauthorized {
		t.Errorf("without the key: got %v, want 401", err)
	}
	c.Key = "secret"
	if _, err := c.Info(t.Context()); err != nil {
		t.Errorf("with the key: got %v, want no error", err)
	}
}
