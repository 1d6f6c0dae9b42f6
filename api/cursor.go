package api

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"

	"github.com/metaim/metaim/api/client"
)

// Kinds of cursors: places in the log of events, and in the lists of messages,
// conversations and coins.
const (
	eventCursor        = 'e'
	messageCursor      = 'm'
	conversationCursor = 'c'
	coinCursor         = 'o'
)

// A cursor is a place in one history: a seq of the log, or an arrival. To
// clients it is opaque.
type cursor struct {
	kind  byte
	epoch string
	at    int64
}

func (c cursor) String() string {
	text := string(c.kind) + strconv.FormatInt(c.at, 10) + ":" + c.epoch
	return base64.RawURLEncoding.EncodeToString([]byte(text))
}

const longestCursor = 512

var errCursor = badRequest("bad_cursor", "the cursor isn't one that this server gave")

// parseCursor reads a cursor of a kind. It fails with cursor_expired when it is
// of another history.
func parseCursor(text string, kind byte, epoch string) (int64, error) {
	if len(text) > longestCursor {
		return 0, errCursor
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) == 0 {
		return 0, errCursor
	}
	number, of, ok := strings.Cut(string(b[1:]), ":")
	if !ok {
		return 0, errCursor
	}
	at, err := strconv.ParseInt(number, 10, 64)
	if err != nil || at < 0 {
		return 0, errCursor
	}
	if b[0] != kind {
		return 0, badRequest("bad_cursor", "the cursor is of another list: each has its own")
	}
	if of != epoch {
		return 0, expired(kind, epoch)
	}
	return at, nil
}

func expired(kind byte, epoch string) *client.Problem {
	p := problem(http.StatusGone, client.CodeCursorExpired,
		"the index was made anew since this cursor was given; start again at the cursor in this answer, or without one")
	p.Cursor = cursor{kind, epoch, 0}.String()
	return p
}

// checkAhead refuses a cursor beyond the end of the log: this index is a copy
// that hasn't caught up yet.
func checkAhead(at, last int64) error {
	if at > last {
		return unavailable("the cursor is ahead of this index, which hasn't caught up yet")
	}
	return nil
}
