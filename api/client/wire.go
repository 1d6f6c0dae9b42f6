package client

// Subprotocol is the WebSocket subprotocol of /v1/ws: JSON text frames.
const Subprotocol = "metaim.v1.json"

// Close codes: 3000 to 3499 and CloseSlow ask to reconnect, others from 3500 on
// ask not to.
const (
	CloseReconnect = 3000
	CloseProtocol  = 3500
	CloseSlow      = 4008
)

// Phases of an event.
const (
	PhaseHistory = "history" // up to caught_up
	PhaseLive    = "live"    // after it
)

// A Filter says which events to send. Everything that is set must hold; of a
// list one value must. An empty filter means all messages and records that
// count.
type Filter struct {
	Address    []string `json:"address,omitempty"`    // sent or received by one of these
	Name       []string `json:"name,omitempty"`       // the same, following the names; and operations on them
	Peer       []string `json:"peer,omitempty"`       // with Address or Name: only between the two; addresses or names
	Type       []string `json:"type,omitempty"`       // of messages
	Encryption []string `json:"encryption,omitempty"` // of messages
	State      []string `json:"state,omitempty"`      // seen, confirmed, refused; none: seen and confirmed
	Blocks     bool     `json:"blocks,omitempty"`     // events of blocks; with it only the heights can be set

	// Bounds of the block that the message or record is in, both inclusive; 0: no
	// bound. One that is in no block stands where it is judged: at the height after
	// the tip and the median time of the tip. One that was dropped stands nowhere,
	// and whoever may have been told of it hears of that.
	Since     int64 `json:"since,omitempty"` // Unix seconds, as in Message.BlockTime
	Until     int64 `json:"until,omitempty"` // Unix seconds
	MinHeight int32 `json:"min_height,omitempty"`
	MaxHeight int32 `json:"max_height,omitempty"`
}

// A Request is one frame from a client. Type is one of: hello, sub, mod, unsub,
// pub, ping.
type Request struct {
	Type   string   `json:"type"`
	ID     string   `json:"id,omitempty"`     // chosen by the client: of the subscription in a sub, else of the request
	Filter []Filter `json:"filter,omitempty"` // sub: one of these must match; none: all that counts
	Cursor string   `json:"cursor,omitempty"` // sub: start after it
	Since  int64    `json:"since,omitempty"`  // sub: start at the first block whose median time is this, Unix seconds
	From   string   `json:"from,omitempty"`   // sub: "now" or "start"; with none of the three: now
	Limit  int      `json:"limit,omitempty"`  // sub: close it after so many events of history
	Sub    string   `json:"sub,omitempty"`    // mod, unsub: the subscription
	Add    []Filter `json:"add,omitempty"`    // mod: filters that match from now on
	Remove []Filter `json:"remove,omitempty"` // mod: filters to drop: with the same values, in any order
	Tx     string   `json:"tx,omitempty"`     // pub: raw transaction, in hexadecimal
	Client string   `json:"client,omitempty"` // hello: name and version of the program
}

// A Reply is one frame from a server. Type is one of: welcome, event, caught_up,
// ok, err, closed, bye.
type Reply struct {
	Type string `json:"type"`
	ID   string `json:"id,omitempty"` // ok, err: of the request answered

	// event, with Sub. Its fields stand in the frame itself.
	Event

	// caught_up, with Sub and Cursor; closed by a limit.
	Complete bool              `json:"complete,omitempty"` // nothing was left out
	Names    map[string]string `json:"names,omitempty"`    // caught_up, ok of a mod: address of each name followed; empty for nobody's

	// err, closed, bye.
	Code         string `json:"code,omitempty"`
	Detail       string `json:"detail,omitempty"`
	Retryable    bool   `json:"retryable,omitempty"`
	RetryAfterMS int64  `json:"retry_after_ms,omitempty"`
	Reconnect    bool   `json:"reconnect,omitempty"` // bye
	AfterMS      int64  `json:"after_ms,omitempty"`  // bye: wait so long before it

	// welcome.
	Network string  `json:"network,omitempty"`
	Limits  *Limits `json:"limits,omitempty"`
	Tip     *Tip    `json:"tip,omitempty"`

	// ok of a pub.
	TxID    string         `json:"txid,omitempty"`
	Indexed bool           `json:"indexed,omitempty"`
	Frames  []FrameVerdict `json:"frames,omitempty"`
}
