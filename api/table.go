package api

import (
	"math"
	"net/http"
	"strings"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol/frame"
)

// Media types.
const (
	kindJSON    = "application/json"
	kindProblem = "application/problem+json"
	kindLines   = "application/x-ndjson"
	kindSSE     = "text/event-stream"
	kindHTML    = "text/html; charset=utf-8"
)

// Longest values of parameters, in bytes.
const (
	longestID      = 80
	longestAddress = 64
	longestName    = 64
	longestType    = 256
	longestSearch  = 1024
)

// Examples of the document. The address becomes one of the server's network.
const (
	exampleAddress = "an address"
	exampleID      = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
)

func jsonReply(meaning string, value any) []reply {
	return []reply{{status: http.StatusOK, meaning: meaning, media: []media{{kind: kindJSON, value: value}}}}
}

func inPath(name, code string, most int, meaning, example string) parameter {
	return parameter{name: name, in: "path", shape: aText, most: most, code: code, meaning: meaning, example: example}
}

func inQuery(name, code string, most int, meaning, example string) parameter {
	return parameter{name: name, in: "query", shape: aText, most: most, code: code, meaning: meaning, example: example}
}

func choiceOf(name, code, meaning string, choices ...string) parameter {
	return parameter{name: name, in: "query", shape: aChoice, choices: choices, code: code, meaning: meaning, example: choices[0]}
}

func (s *Server) listOf(name, code string, most int, meaning, example string) parameter {
	return parameter{name: name, in: "query", shape: aList, most: most, values: s.limits.FilterValues, code: code, meaning: meaning, example: example}
}

func boundOf(name, meaning string, most int) parameter {
	which := "lower"
	if strings.HasPrefix(name, "max") || name == "until" {
		which = "upper"
	}
	return parameter{name: name, in: "query", shape: aNumber, most: most, code: "bad_filter", meaning: which + " bound " + meaning + ", inclusive; 0: none", example: "0"}
}

func (s *Server) limitParameter() parameter {
	return parameter{name: "limit", in: "query", shape: aNumber, least: 1, most: s.limits.PageMax, code: "bad_limit",
		meaning: "how many items a page may have", example: "20"}
}

func cursorParameter(name, meaning string) parameter {
	return inQuery(name, "bad_cursor", longestCursor, meaning, "")
}

var (
	addressInPath = inPath("address", "bad_address", longestAddress, "an address of the server's network", exampleAddress)
	messageID     = inPath("id", "bad_id", longestID, "frame id, 64 hexadecimal digits, or txid:vout", exampleID)
)

// routes returns the table of all that the server offers.
func (s *Server) routes() []*route {
	var all []*route
	for _, group := range [][]*route{s.messageRoutes(), s.proofRoutes(), s.peopleRoutes(), s.transactionRoutes(), s.callbackRoutes(), s.eventRoutes(), s.serverRoutes()} {
		all = append(all, group...)
	}
	for _, rt := range all {
		for i := range rt.parameters {
			if p := &rt.parameters[i]; p.example == exampleAddress {
				p.example = s.network.Address(frame.KeyHash{}) // one of this network
			}
		}
	}
	return all
}

func (s *Server) messageRoutes() []*route {
	const group = "Messages"
	return []*route{
		{
			method: http.MethodGet, path: "/v1/messages", name: "listMessages", group: group, cost: 2, perItems: true,
			summary: "A page of messages",
			detail: "Without address or name: everyone's. A message that stands in several transactions is listed once. " +
				"As NDJSON the pages follow one another to the end of the list, or up to limit messages when it is given; a last line {\"bye\": ...} says that it was cut short.",
			parameters: []parameter{
				inQuery("address", "bad_address", longestAddress, "sent or received by this address", exampleAddress),
				inQuery("name", "bad_name", longestName, "the same, of the address that the name has now", "alice"),
				inQuery("peer", "bad_query", longestAddress, "with address or name: only between the two; an address or a name. The same one: what it wrote to itself", "bob"),
				inQuery("type", "bad_query", longestType, "message type, such as text or image/png", "text"),
				inQuery("q", "bad_search", longestSearch, "words that the text holds, all of them; a word that ends in * stands for all that begin so. Plain text messages only", "hello wor*"),
				choiceOf("state", "bad_state", "of messages; without it seen and confirmed", "seen", "confirmed", "refused"),
				cursorParameter("after", "a cursor: what follows it in the list"),
				cursorParameter("before", "a cursor: what stands before it in the list"),
				s.limitParameter(),
				choiceOf("order", "bad_order", "of arrival; without it newest", "newest", "oldest"),
			},
			replies: []reply{{status: http.StatusOK, meaning: "the page", media: []media{
				{kind: kindJSON, value: client.MessagePage{}}, {kind: kindLines, value: client.Message{}, note: "one message in each line"},
			}}},
			problems: []string{"bad_limit", "bad_order", "bad_state", "bad_address", "bad_name", "bad_search", "bad_cursor", client.CodeCursorExpired, client.CodeNotFound, "connections"},
			try:      "/v1/messages?limit=5", serve: s.getMessages,
		},
		{
			method: http.MethodGet, path: "/v1/messages/{id}", name: "getMessage", group: group, cost: 1,
			summary: "One message with all its occurrences", parameters: []parameter{messageID},
			replies:  jsonReply("the message", client.MessageReply{}),
			problems: []string{"bad_id", client.CodeNotFound}, serve: s.getMessage,
		},
		{
			method: http.MethodGet, path: "/v1/messages/{id}/content", name: "getContent", group: group, cost: 2, any: true,
			summary: "The bytes of a message as their media type",
			detail: "They come from strangers: nothing in them runs in this origin, and what isn't a picture, sound, film or plain text is handed over as a file. " +
				"Parts may be asked for by Range. What is confirmed by 100 blocks doesn't change and may be kept for good.",
			parameters: []parameter{messageID, {name: "Range", in: "header", shape: aText, meaning: "which bytes", example: "bytes=0-1023"}},
			replies: []reply{
				{status: http.StatusOK, meaning: "the bytes", media: []media{{kind: "*/*"}}},
				{status: http.StatusPartialContent, meaning: "those asked for", media: []media{{kind: "*/*"}}},
				{status: http.StatusPreconditionFailed, meaning: "the content isn't what If-Match says"},
			},
			problems: []string{"bad_id", client.CodeNotFound, "bad_range"}, serve: s.getContent,
		},
		{
			method: http.MethodGet, path: "/v1/conversations", name: "listConversations", group: group, cost: 3, perItems: true,
			summary: "With whom an address exchanged messages",
			detail:  "By the last message of each, newest first. Give address or name.",
			parameters: []parameter{
				inQuery("address", "bad_address", longestAddress, "whose conversations", exampleAddress),
				inQuery("name", "bad_name", longestName, "the same, of the address that the name has now", "alice"),
				cursorParameter("after", "a cursor: what follows it in the list"), s.limitParameter(),
			},
			replies:  jsonReply("the page", client.ConversationPage{}),
			problems: []string{"bad_limit", "bad_address", "bad_name", "bad_cursor", client.CodeCursorExpired, client.CodeNotFound},
			serve:    s.getConversations,
		},
	}
}

func (s *Server) peopleRoutes() []*route {
	const group = "Names and addresses"
	name := inPath("name", "bad_name", longestName, "a name", "alice")
	return []*route{
		{
			method: http.MethodGet, path: "/v1/names/{name}", name: "getName", group: group, cost: 1,
			summary: "Who holds a name, since when, until when, and what is pending", parameters: []parameter{name},
			replies:  jsonReply("the name", client.NameReply{}),
			problems: []string{"bad_name", client.CodeNotFound}, serve: s.getName,
		},
		{
			method: http.MethodGet, path: "/v1/names/{name}/history", name: "getNameHistory", group: group, cost: 3,
			summary: "Every operation on a name, refused ones with their reason", parameters: []parameter{name},
			replies:  jsonReply("the operations", client.History{}),
			problems: []string{"bad_name", client.CodeNotFound}, serve: s.getNameHistory,
		},
		{
			method: http.MethodGet, path: "/v1/addresses/{address}", name: "getAddress", group: group, cost: 2,
			summary: "What is known of an address",
			detail:  "Its primary name and all names, its proved public key, the keys that it published to encrypt to, and its peers.", parameters: []parameter{addressInPath},
			replies:  jsonReply("the address", client.Address{}),
			problems: []string{"bad_address"}, try: "/v1/addresses/" + s.network.Address(frame.KeyHash{}), serve: s.getAddress,
		},
		{
			method: http.MethodGet, path: "/v1/addresses/{address}/coins", name: "listCoins", group: group, cost: 2, perItems: true,
			summary: "Unspent outputs of an address that the index knows",
			detail: "Those of transactions with frames, which nothing with a frame has spent: a hint for a wallet, which must expect that a node refuses one. " +
				"All coins of a transaction stand in one page.",
			parameters: []parameter{addressInPath, cursorParameter("after", "a cursor: what follows it in the list"), s.limitParameter()},
			replies:    jsonReply("the page", client.CoinPage{}),
			problems:   []string{"bad_limit", "bad_address", "bad_cursor", client.CodeCursorExpired}, serve: s.getCoins,
		},
	}
}

func (s *Server) transactionRoutes() []*route {
	const group = "Transactions"
	return []*route{
		{
			method: http.MethodPost, path: "/v1/transactions", name: "submitTransaction", group: group, cost: submitCost,
			summary: "Hands in a transaction",
			detail: "It is offered to the network first; what the network took goes into the index, and the answer says how its frames are judged. " +
				"The same transaction twice does no harm. With Idempotency-Key a repeated request gets the answer of the first one.",
			parameters: []parameter{{name: "Idempotency-Key", in: "header", shape: aText, most: longestIdempotencyKey, code: "bad_idempotency_key",
				meaning: "a text chosen by the client, unique to this request, such as a UUID: 1 to 255 printable ASCII characters", example: "0f6b2a1c-7c55-4c0a-8b52-6f1f0a2f4c11"}},
			body: []media{
				{kind: "application/octet-stream", note: "the bytes: raw, in extended format (BRC-30), or a BEEF (BRC-62) whose last transaction it is"},
				{kind: "text/plain", note: "the same in hexadecimal"},
				{kind: kindJSON, value: rawTransaction{}},
			},
			replies: []reply{{status: http.StatusAccepted, meaning: "the network took it", media: []media{{kind: kindJSON, value: client.Submitted{}}},
				headers: []header{{"Idempotency-Replayed", "true, when this is the answer to an earlier request with the same key"}}}},
			problems: []string{"bad_body", "bad_transaction", "bad_idempotency_key", "idempotency_conflict", "idempotency_busy", "slow_body", "too_large", "media_type", "held_bytes", "key_required",
				client.CodeRefused, client.CodeDoubleSpend, "no_submit", "origin_refused"},
			serve: s.postTransaction,
		},
		{
			method: http.MethodGet, path: "/v1/transactions/{txid}", name: "getTransaction", group: group, cost: 1,
			summary:    "What a transaction carries and whether it is in a block",
			parameters: []parameter{inPath("txid", "bad_id", longestID, "transaction id, 64 hexadecimal digits", exampleID)},
			replies:    jsonReply("the transaction", client.Transaction{}),
			problems:   []string{"bad_id", client.CodeNotFound}, serve: s.getTransaction,
		},
	}
}

func (s *Server) eventRoutes() []*route {
	const group = "Events"
	return []*route{
		{
			method: http.MethodGet, path: "/v1/events", name: "listEvents", group: group, cost: 2, perItems: true,
			summary: "The log of events: as pages, as lines, or as they happen",
			detail: "Without a filter: everything, refused frames and blocks too. Values of one parameter are joined by commas, one must hold; of several parameters all must. " +
				"JSON is a page. NDJSON is the rest of the log, one event in each line, and with follow=true it goes on as events happen. " +
				"SSE always goes on: the id of each event is its cursor, and Last-Event-ID resumes after it. " +
				"A stream that goes on begins now unless after, from or Last-Event-ID says otherwise, is told caught_up when history ends, a comment or an empty line while nothing happens, and bye before it ends. Each page of history that a stream reads costs a unit.",
			parameters: []parameter{
				cursorParameter("after", "a cursor: what happened after it"),
				choiceOf("from", "bad_query", "where to begin without a cursor: the start of the log, or now", "start", "now"),
				{name: "follow", in: "query", shape: aSwitch, meaning: "with NDJSON: go on as events happen", example: "true"},
				s.listOf("address", "bad_address", longestAddress, "concerns one of these addresses", exampleAddress),
				s.listOf("name", "bad_name", longestName, "the same, following the names; and operations on them", "alice"),
				s.listOf("peer", "bad_query", longestAddress, "with address or name: messages between the two; addresses or names", "bob"),
				inQuery("type", "bad_query", longestType, "message type", "text"),
				inQuery("encryption", "bad_query", longestType, "encryption type", "plain"),
				{name: "state", in: "query", shape: aList, most: 16, values: 3, choices: []string{"seen", "confirmed", "refused"}, code: "bad_state",
					meaning: "what is said of the frame; without it all three", example: "confirmed"},
				boundOf("since", "of the median time of the block, Unix seconds", math.MaxInt),
				boundOf("until", "of the same", math.MaxInt),
				boundOf("min_height", "of the block", math.MaxInt32),
				boundOf("max_height", "of the block", math.MaxInt32),
				choiceOf("blocks", "bad_filter", "events of blocks: also (as without any filter), not at all (as with one), or no others", "true", "false", "only"),
				s.limitParameter(),
				{name: "Last-Event-ID", in: "header", shape: aText, most: longestCursor, code: "bad_cursor", meaning: "the cursor to resume after; goes before after"},
			},
			replies: []reply{{status: http.StatusOK, meaning: "events, oldest first", media: []media{
				{kind: kindJSON, value: client.EventPage{}},
				{kind: kindLines, value: client.Event{}, note: "one event in each line"},
				{kind: kindSSE, note: "events named message (an event as JSON), caught_up and bye"},
			}}},
			problems: []string{"bad_limit", "bad_address", "bad_name", "bad_state", "bad_filter", "too_many", "bad_cursor", client.CodeCursorExpired, "connections"},
			try:      "/v1/events?limit=5", serve: s.getEvents,
		},
		{
			method: http.MethodGet, path: "/v1/ws", name: "openSocket", group: group, cost: 5, raw: true,
			summary:  "Subscriptions over WebSocket",
			detail:   "Subprotocol " + client.Subprotocol + ": JSON text frames, described beside this document. Here only what is answered when no WebSocket comes about.",
			replies:  []reply{{status: http.StatusSwitchingProtocols, meaning: "a WebSocket"}},
			problems: []string{"bad_handshake", "bad_subprotocol", "connections", "origin_refused"},
			serve:    s.getSocket,
		},
	}
}

func (s *Server) serverRoutes() []*route {
	const group = "The server"
	return []*route{
		{
			method: http.MethodGet, path: "/v1/info", name: "getInfo", group: group, cost: 1,
			summary: "Network, version, tip, state hash, limits, registration addresses",
			replies: jsonReply("about this server", client.Info{}), try: "/v1/info", serve: s.getInfo,
		},
		{
			method: http.MethodGet, path: "/openapi.json", name: "getOpenAPI", group: group, cost: 1,
			summary: "This document, as OpenAPI 3.1",
			replies: jsonReply("the document", map[string]any{}), try: "/openapi.json", serve: s.getOpenAPI,
		},
		{
			method: http.MethodGet, path: "/docs", name: "getDocs", group: group, cost: 1,
			summary: "This document, for people",
			replies: []reply{{status: http.StatusOK, meaning: "a page", media: []media{{kind: kindHTML}}}}, serve: s.getDocs,
		},
		{
			method: http.MethodGet, path: "/healthz", name: "getHealth", group: group,
			summary: "Whether the process lives",
			replies: jsonReply("it does", client.Status{}), try: "/healthz", serve: s.getHealth,
		},
		{
			method: http.MethodGet, path: "/readyz", name: "getReady", group: group,
			summary: "Whether the server follows the chain, and if not why (503)",
			replies: jsonReply("it does", client.Status{}), try: "/readyz", serve: s.getReady,
		},
	}
}
