package client

// A Tip is the last block of the chain that a reply was read at.
type Tip struct {
	Height     int32  `json:"height"` // -1 before the first block
	Hash       string `json:"hash"`
	MedianTime int64  `json:"median_time"` // Unix seconds: what expiry is judged by
}

// Limits are what a server accepts.
type Limits struct {
	PageDefault      int   `json:"page_default"`      // items
	PageMax          int   `json:"page_max"`          // items
	TransactionBytes int64 `json:"transaction_bytes"` // of one raw transaction
	FrameBytes       int64 `json:"frame_bytes"`       // of one WebSocket frame from a client
	Connections      int   `json:"connections"`       // WebSockets and streams at one time
	Subscriptions    int   `json:"subscriptions"`     // of one connection
	Filters          int   `json:"filters"`           // of one subscription
	FilterValues     int   `json:"filter_values"`     // of one list in a filter
	QueueBytes       int   `json:"queue_bytes"`       // waiting for one connection
	Requests         int   `json:"requests"`          // a second, on one WebSocket; more are read later
	Values           int   `json:"values"`            // of all filters of one WebSocket together
	ValueBytes       int   `json:"value_bytes"`       // of one value in a filter
	IDBytes          int   `json:"id_bytes"`          // of the id of a request

	Quota             Quota `json:"quota"`              // of each address: IPv4 whole, IPv6 its /64
	PrefixConnections int   `json:"prefix_connections"` // WebSockets and streams at one time from one such address
	URIBytes          int   `json:"uri_bytes"`          // of path and query together

	HeldBytes       int64 `json:"held_bytes"`        // of what all have on its way to the server, three for each of a body, and of what their subscriptions ask for
	PrefixHeldBytes int64 `json:"prefix_held_bytes"` // the same of one address
}

// A Quota is how much may be asked in a time, by cost: each route says what a
// request costs. It comes back evenly, so that all of it may be used at once
// after a pause.
type Quota struct {
	Units   int `json:"units"`
	Seconds int `json:"seconds"`
}

// A Registration is an address that operations must pay, from a height on.
type Registration struct {
	FromHeight int32  `json:"from_height"`
	Address    string `json:"address"`
}

// Registrations are the registration addresses of both record protocols, by
// height.
type Registrations struct {
	Names []Registration `json:"names"`
	Peers []Registration `json:"peers"`
}

// A Fee is a fee rate: Satoshis for each Bytes bytes.
type Fee struct {
	Satoshis uint64 `json:"satoshis"`
	Bytes    uint64 `json:"bytes"`
}

// Info says which network and chain a server serves, and its limits.
type Info struct {
	Network      string        `json:"network"`
	Version      string        `json:"version"`
	Tip          Tip           `json:"tip"`
	StateHash    string        `json:"state_hash"` // of the whole confirmed state, in hexadecimal
	Cursor       string        `json:"cursor"`     // of the last event
	Limits       Limits        `json:"limits"`
	Registration Registrations `json:"registration"`
	Submits      bool          `json:"submits"` // whether it takes transactions
	// Fee is what a transaction should pay, nil when the server doesn't say.
	Fee *Fee `json:"fee,omitempty"`
	// Extended says that the network is best handed the extended format (BRC-30).
	Extended bool `json:"extended,omitempty"`
	// SubmitsNeedKey says that it takes them only from who shows a key that is good
	// for it.
	SubmitsNeedKey bool `json:"submits_need_key"`
}

// A Message is one IM frame as a server tells it. Source, Type, Encryption,
// Body, Other, TimeStamp and Signature are as on the chain: [Verify] checks them
// against ID and Address. Everything else is the server's word.
//
// Text and the other strings come from strangers: control characters are in
// them as written, and whoever shows them on a terminal or a page must escape
// them.
type Message struct {
	ID         string  `json:"id"` // frame id, in hexadecimal; empty when malformed
	ContentID  string  `json:"content_id,omitempty"`
	TxID       string  `json:"txid"`
	Output     uint32  `json:"vout"`
	State      string  `json:"state"`   // seen, confirmed, refused, dropped
	Verdict    string  `json:"verdict"` // docs/spec/index.md, "Verdicts"
	Reason     string  `json:"reason,omitempty"`
	Source     string  `json:"source"`
	Address    string  `json:"address,omitempty"`    // what the source resolved to; whose key signed
	PublicKey  string  `json:"public_key,omitempty"` // that signed, in hexadecimal
	Type       string  `json:"type"`
	Encryption string  `json:"encryption"`
	Body       []byte  `json:"message"`
	Text       *string `json:"text,omitempty"` // Body, when type is text, encryption plain and the bytes UTF-8
	Other      string  `json:"other"`
	// OtherMap is Other read as a list; nil when it is no list. Of equal keys the
	// first counts.
	OtherMap  map[string]string `json:"other_map,omitempty"`
	TimeStamp string            `json:"time_stamp"` // decimal; the sender's word
	Signature []byte            `json:"signature"`

	Height        int32    `json:"height"` // -1 while unconfirmed
	Block         string   `json:"block,omitempty"`
	BlockTime     int64    `json:"block_time,omitempty"` // Unix seconds
	Confirmations int32    `json:"confirmations"`
	Recipients    []string `json:"recipients"`
	// Addressed is false when "to" is signed and names neither the address asked
	// for nor, with none asked for, any recipient: the message was copied to
	// somebody whom its sender didn't mean.
	Addressed    bool `json:"addressed"`
	PaidBySource bool `json:"paid_by_source"`

	Occurrences []Occurrence `json:"occurrences,omitempty"` // when one message is asked for
}

// An Occurrence is one output that carries a message.
type Occurrence struct {
	TxID         string   `json:"txid"`
	Output       uint32   `json:"vout"`
	State        string   `json:"state"`
	Verdict      string   `json:"verdict"`
	Height       int32    `json:"height"`
	Block        string   `json:"block,omitempty"`
	Recipients   []string `json:"recipients"`
	PaidBySource bool     `json:"paid_by_source"`
}

// A Record is one frame of the N or the P protocol.
type Record struct {
	ID            string   `json:"id"`
	TxID          string   `json:"txid"`
	Output        uint32   `json:"vout"`
	State         string   `json:"state"`
	Verdict       string   `json:"verdict"`
	Reason        string   `json:"reason,omitempty"`
	Protocol      string   `json:"protocol"` // n, p
	Operation     string   `json:"operation,omitempty"`
	Name          string   `json:"name,omitempty"`
	IP            string   `json:"ip,omitempty"`
	Address       string   `json:"address,omitempty"`
	NewAddress    string   `json:"new_address,omitempty"` // in a transfer
	Other         string   `json:"other"`
	TimeStamp     string   `json:"time_stamp"`
	Signatures    [][]byte `json:"signatures"`
	Height        int32    `json:"height"`
	Block         string   `json:"block,omitempty"`
	BlockTime     int64    `json:"block_time,omitempty"`
	Confirmations int32    `json:"confirmations"`
}

// A Frame is what one output of a transaction carries: a message or a record.
type Frame struct {
	Message *Message `json:"message,omitempty"`
	Record  *Record  `json:"record,omitempty"`
}

// A Position is a place in canonical order.
type Position struct {
	Height int32  `json:"height"`
	Index  uint32 `json:"index"`
	Output uint32 `json:"vout"`
}

// States of a name or peer.
const (
	NameValid   = "valid"
	NameExpired = "expired"
	NameDeleted = "deleted"
	NameFree    = "free" // never held; an operation on it is pending
)

// A Name says who holds a name. Address is the last holder's: the name resolves
// to it only while State is valid.
type Name struct {
	Name         string    `json:"name"`
	State        string    `json:"state"`
	Address      string    `json:"address,omitempty"`
	Since        *Position `json:"since,omitempty"`         // held without a break since
	RegisteredAt int64     `json:"registered_at,omitempty"` // Unix seconds
	ExpiresAt    int64     `json:"expires_at,omitempty"`    // Unix seconds
	Primary      bool      `json:"primary"`                 // the address's first name
	Pending      []Record  `json:"pending,omitempty"`       // unconfirmed operations
}

// A NameReply is the answer about one name.
type NameReply struct {
	Name
	Tip Tip `json:"tip"`
}

// A Peer is a record of the P protocol.
type Peer struct {
	IP           string `json:"ip"`
	State        string `json:"state"`
	RegisteredAt int64  `json:"registered_at"`
	ExpiresAt    int64  `json:"expires_at"`
}

// An Address is what is known of an address.
type Address struct {
	Address     string `json:"address"`
	PrimaryName string `json:"primary_name,omitempty"` // of the names now valid the one held longest without a break
	Names       []Name `json:"names"`
	PublicKey   string `json:"public_key,omitempty"` // proved by a confirmed valid frame, in hexadecimal
	// Keys are the messages by which the address published keys to encrypt to,
	// newest first, whole: [Verify] checks each.
	Keys  []Message `json:"keys"`
	Peers []Peer    `json:"peers"`
	Tip   Tip       `json:"tip"`
}

// A Conversation is what passed between an address and one other.
type Conversation struct {
	Peer     string  `json:"peer"`                // address of the other; the address itself for notes to oneself
	PeerName string  `json:"peer_name,omitempty"` // its primary name
	Last     Message `json:"last"`                // that arrived last, of those that count
	Sent     int64   `json:"sent"`                // messages that count, by the address
	Received int64   `json:"received"`            // messages that count, by the other
}

// A ConversationPage is a part of the conversations of an address, by their last
// message, newest first. Next continues the list when given as "after".
type ConversationPage struct {
	Address  string         `json:"address"`
	Items    []Conversation `json:"items"`
	Next     string         `json:"next,omitempty"`
	Complete bool           `json:"complete"` // nothing follows
	Tip      Tip            `json:"tip"`
}

// A Coin is an output that pays an address and that no transaction which the
// index keeps spends. The index keeps only transactions with frames: a coin that
// was spent by another is still listed.
type Coin struct {
	TxID     string `json:"txid"`
	Output   uint32 `json:"vout"`
	Satoshis uint64 `json:"satoshis"`
	Height   int32  `json:"height"` // -1 while unconfirmed
	Coinbase bool   `json:"coinbase,omitempty"`
}

// A CoinPage is a part of the coins of an address. Next continues the list when
// given as "after". All coins of one transaction stand in one page, which may
// exceed its limit for that.
type CoinPage struct {
	Address  string `json:"address"`
	Items    []Coin `json:"items"`
	Next     string `json:"next,omitempty"`
	Complete bool   `json:"complete"` // nothing follows
	Tip      Tip    `json:"tip"`
}

// A MessagePage is a part of a list of messages. Next continues the list when
// given as "after", Prev goes back when given as "before".
type MessagePage struct {
	Items    []Message `json:"items"`
	Next     string    `json:"next,omitempty"`
	Prev     string    `json:"prev,omitempty"`
	Complete bool      `json:"complete"` // nothing follows in the direction asked
	Tip      Tip       `json:"tip"`
}

// A MessageReply is the answer about one message.
type MessageReply struct {
	Message
	Tip Tip `json:"tip"`
}

// A History lists the operations on a name, refused ones too, in the order in
// which the server met them.
type History struct {
	Name     string   `json:"name"`
	Items    []Record `json:"items"`
	Complete bool     `json:"complete"` // false: there are older ones than the server lists
	Tip      Tip      `json:"tip"`
}

// A Transaction says what a transaction carries.
type Transaction struct {
	TxID   string  `json:"txid"`
	State  string  `json:"state"`  // seen, confirmed, dropped
	Height int32   `json:"height"` // -1 while unconfirmed
	Block  string  `json:"block,omitempty"`
	Frames []Frame `json:"frames"`
	Tip    Tip     `json:"tip"`
}

// A FrameVerdict is what the rules say of a frame in a transaction that was
// handed in: as the index has it, or where it hasn't yet, as it would be judged
// now.
type FrameVerdict struct {
	Output    uint32 `json:"vout"`
	Protocol  string `json:"protocol"`
	Operation string `json:"operation,omitempty"` // message, register, delete, transfer
	ID        string `json:"id,omitempty"`
	Verdict   string `json:"verdict"`
	Reason    string `json:"reason,omitempty"`
}

// A Submitted is the answer to a transaction that the network took. With Indexed
// the server's index has it too, durably: the verdicts are those that it holds,
// and the events are in its log. Without, the index takes it in when a node
// announces it or a block has it; Frames may be empty when it couldn't be asked.
type Submitted struct {
	TxID    string         `json:"txid"`
	Indexed bool           `json:"indexed,omitempty"`
	Frames  []FrameVerdict `json:"frames"`
}

// A Block is a block that was connected or disconnected.
type Block struct {
	Height int32  `json:"height"`
	Hash   string `json:"hash"`
}

// An Event is one line of the log of what happened. Exactly one of Message,
// Record and Block is set, but in [SubscriptionMoved]. A message is shown as it
// is now, Verdict is what was said at that time: who applies the messages by ID
// in order ends with the present state.
type Event struct {
	Sub     string   `json:"sub,omitempty"`
	Phase   string   `json:"phase,omitempty"` // history, live
	Cursor  string   `json:"cursor,omitempty"`
	Kind    string   `json:"kind"` // message.seen, name.confirmed, block.connected, ...
	Message *Message `json:"message,omitempty"`
	Record  *Record  `json:"record,omitempty"`
	Block   *Block   `json:"block,omitempty"` // of the event
	Verdict string   `json:"verdict,omitempty"`
	From    string   `json:"from,omitempty"`   // in a "rejudged" the verdict before; in SubscriptionMoved the address before
	To      string   `json:"to,omitempty"`     // likewise afterwards
	Reason  string   `json:"reason,omitempty"` // in a "dropped"
	Name    string   `json:"name,omitempty"`   // in SubscriptionMoved
}

// SubscriptionMoved is the kind of an event that says that a name which a filter
// follows now belongs to another address, or (To empty) to none.
const SubscriptionMoved = "subscription.moved"

// A Bye is the last thing said on a stream that the server ends, in SSE as the
// event "bye", in NDJSON as {"bye": ...}. A stream that ends without it and before
// its end was cut off.
type Bye struct {
	Code      string `json:"code"`
	Detail    string `json:"detail,omitempty"`
	Reconnect bool   `json:"reconnect"` // whether coming again, after the last cursor, can help
	AfterMS   int64  `json:"after_ms,omitempty"`
	Cursor    string `json:"cursor,omitempty"` // where to go on; with cursor_expired where the present history starts
}

// A CaughtUp says on a stream that history has been told up to a cursor: what
// follows is live.
type CaughtUp struct {
	Cursor string `json:"cursor"`
}

// A Status is the answer of /healthz and /readyz.
type Status struct {
	Status   string   `json:"status"`             // ok, ready
	Warnings []string `json:"warnings,omitempty"` // of /readyz: what is odd, each a sentence
}

// An EventPage is a part of the log. It may hold fewer events than its limit, even
// none, and not be the last.
type EventPage struct {
	Items    []Event `json:"items"`
	Next     string  `json:"next"` // give as "after"
	Complete bool    `json:"complete"`
	Tip      Tip     `json:"tip"`
}
