package client

import "fmt"

// A Problem is why a request failed, as application/problem+json (RFC 9457)
// carries it. Code is stable; Detail is a sentence for people.
type Problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Code      string `json:"code"`
	Retryable bool   `json:"retryable"` // the same request may succeed later
	RequestID string `json:"request_id,omitempty"`
	Cursor    string `json:"cursor,omitempty"` // with cursor_expired: where the present history starts

	RetryAfter int `json:"-"` // seconds, from the header of that name; 0 when it is absent
}

// Codes that programs act on.
const (
	CodeCursorExpired = "cursor_expired"   // the history was made anew: start again at Cursor
	CodeRefused       = "node_refused"     // the node refused the transaction
	CodeDoubleSpend   = "double_spend"     // it spends a coin that another transaction has spent
	CodeNotFound      = "not_found"        // no such message, name, transaction or route
	CodeUnavailable   = "unavailable"      // later, perhaps
	CodeSlowConsumer  = "slow_consumer"    // a subscriber read too slowly
	CodeHistory       = "history_replaced" // the server changed to another history
	CodeShutdown      = "shutting_down"
	CodeLimit         = "limit"           // a subscription reached the limit it asked for
	CodeTooManyFaults = "too_many_faults" // a WebSocket asked again and again for what can't be
	CodeQuota         = "quota"           // the quota is used up: wait RetryAfter
)

func (p *Problem) Error() string {
	if p.Detail == "" {
		return fmt.Sprintf("server answered %d %s", p.Status, p.Code)
	}
	return p.Detail
}
