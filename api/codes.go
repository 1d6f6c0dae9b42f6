package api

import (
	"net/http"

	"github.com/metaim/metaim/api/client"
)

// A code is one that a problem may have: stable, of one status. All that HTTP
// answers with stand here; the sentence beside it in a reply says more.
type code struct {
	code    string
	status  int
	meaning string
}

var codes = []code{
	{"bad_query", http.StatusBadRequest, "a parameter is unknown, stands twice, is empty or can't be read"},
	{"bad_path", http.StatusBadRequest, "the path is not UTF-8"},
	{"bad_limit", http.StatusBadRequest, "limit is no number that the server accepts"},
	{"bad_order", http.StatusBadRequest, "order is none of those that there are"},
	{"bad_state", http.StatusBadRequest, "state is none of those that there are"},
	{"bad_address", http.StatusBadRequest, "an address is none, or one of another network"},
	{"bad_name", http.StatusBadRequest, "a name can't be one"},
	{"bad_id", http.StatusBadRequest, "an id can't be one"},
	{"bad_search", http.StatusBadRequest, "there is no word to search for, or too many"},
	{"bad_cursor", http.StatusBadRequest, "a cursor is none of this server's, or of another list"},
	{"bad_filter", http.StatusBadRequest, "a filter asks for what can't be"},
	{"bad_body", http.StatusBadRequest, "the body is not what the route takes"},
	{"bad_transaction", http.StatusBadRequest, "the bytes are no transaction"},
	{"bad_idempotency_key", http.StatusBadRequest, "Idempotency-Key can't be one"},
	{"bad_handshake", http.StatusBadRequest, "the request doesn't ask for a WebSocket as it should"},
	{"bad_subprotocol", http.StatusBadRequest, "the subprotocol is another"},
	{"too_many", http.StatusBadRequest, "more values than the server accepts"},
	{"bad_key", http.StatusUnauthorized, "the key in Authorization is none of this server's"},
	{"key_required", http.StatusUnauthorized, "transactions are taken only from those who show a key that is good for it"},
	{"bad_callback", http.StatusUnauthorized, "the callback doesn't show the token that was given for it"},
	{"origin_refused", http.StatusForbidden, "pages of this origin may not use the server"},
	{client.CodeNotFound, http.StatusNotFound, "no such message, name, transaction or route"},
	{client.CodeNotConfirmed, http.StatusNotFound, "the message is in no block, so that there is no proof of it yet"},
	{client.CodeNotProvable, http.StatusNotFound, "the index keeps no proof of the message"},
	{"method_not_allowed", http.StatusMethodNotAllowed, "the route takes the methods in Allow"},
	{"not_acceptable", http.StatusNotAcceptable, "the route has none of the media types in Accept"},
	{"slow_body", http.StatusRequestTimeout, "the body didn't come in time"},
	{"idempotency_busy", http.StatusConflict, "a request with the same Idempotency-Key is being answered"},
	{client.CodeCursorExpired, http.StatusGone, "the index was made anew: start again at the cursor in the problem"},
	{"too_large", http.StatusRequestEntityTooLarge, "the body is larger than the server accepts"},
	{"uri_too_long", http.StatusRequestURITooLong, "path and query are longer than the server accepts"},
	{"media_type", http.StatusUnsupportedMediaType, "the body has a media type that the route doesn't take"},
	{"bad_range", http.StatusRequestedRangeNotSatisfiable, "Range asks for bytes that there aren't"},
	{client.CodeRefused, http.StatusUnprocessableEntity, "the network refuses the transaction"},
	{client.CodeDoubleSpend, http.StatusUnprocessableEntity, "the transaction spends a coin that another one has spent"},
	{"idempotency_conflict", http.StatusUnprocessableEntity, "the Idempotency-Key was used for another body"},
	{client.CodeQuota, http.StatusTooManyRequests, "the quota is used up: wait as Retry-After says"},
	{"held_bytes", http.StatusTooManyRequests, "one address has more on its way, or asks for more, than the server holds for one"},
	{"connections", http.StatusTooManyRequests, "too many connections from one address"},
	{"headers_too_large", http.StatusRequestHeaderFieldsTooLarge, "the headers are larger than the server accepts"},
	{"internal", http.StatusInternalServerError, "something failed in the server; its log has the request id"},
	{"no_submit", http.StatusNotImplemented, "this server takes no transactions"},
	{client.CodeUnavailable, http.StatusServiceUnavailable, "not now: try again as Retry-After says"},
}

// everywhere are the codes that any route may fail with.
var everywhere = []string{"bad_query", "bad_path", "bad_key", "not_acceptable", "uri_too_long", "headers_too_large", client.CodeQuota, "internal", client.CodeUnavailable}

func codeOf(name string) *code {
	for i := range codes {
		if codes[i].code == name {
			return &codes[i]
		}
	}
	return nil
}
