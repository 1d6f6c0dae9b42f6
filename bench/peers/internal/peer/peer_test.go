package peer

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

// A message has the size that was asked for and tells when it was sent.
func TestMessages(t *testing.T) {
	for _, c := range []struct {
		name string
		sent int64
		size int
	}{{"the smallest", 1<<63 - 1, Least}, {"a usual one", 123, 300}} {
		t.Run(c.name, func(t *testing.T) {
			var told struct{ T int64 }
			b := JSON(c.sent, c.size)
			if err := json.Unmarshal(b, &told); err != nil || told.T != c.sent || len(b) != c.size {
				t.Errorf("got %s of %d bytes, %v", b, len(b), err)
			}
			b = Text(c.sent, c.size)
			if digits, _, _ := strings.Cut(string(b), " "); json.Unmarshal([]byte(digits), &told.T) != nil || told.T != c.sent || len(b) != c.size {
				t.Errorf("got %s of %d bytes", b, len(b))
			}
		})
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name string
		q    question
		good bool
	}{
		{"the smallest", question{Messages: 0, Bytes: Least}, true},
		{"the largest", question{Messages: mostMessages, Bytes: mostBytes, Rate: 1 << 40}, true},
		{"too small", question{Messages: 1, Bytes: Least - 1}, false},
		{"too large", question{Messages: 1, Bytes: mostBytes + 1}, false},
		{"too many", question{Messages: mostMessages + 1, Bytes: 300}, false},
		{"less than none", question{Messages: -1, Bytes: 300}, false},
		{"backwards", question{Messages: 1, Bytes: 300, Rate: -1}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.q.check(); (err == nil) != c.good {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Messages are due at even distances, however late they are published, and none
// is published before.
func TestPace(t *testing.T) {
	var sent []int64
	got, err := pace(question{Messages: 10, Bytes: 300, Rate: 1_000, Channel: "c"}, func(channel string, at int64, size int) error {
		if Now() < at || channel != "c" || size != 300 {
			t.Errorf("%d bytes were published to %q, %v before they were due", size, channel, time.Duration(at-Now()))
		}
		sent = append(sent, at)
		return nil
	})
	if err != nil || got.Published != 10 || len(sent) != 10 || got.Nanos < 9*int64(time.Millisecond) {
		t.Fatalf("got %+v of %d messages, %v", got, len(sent), err)
	}
	for i, at := range sent {
		if want := int64(i) * int64(time.Millisecond); at-sent[0] != want {
			t.Errorf("message %d was due %d ns after the first, want %d", i, at-sent[0], want)
		}
	}
	broken := errors.New("broken")
	if _, err := pace(question{Messages: 1, Bytes: 300}, func(string, int64, int) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
}
