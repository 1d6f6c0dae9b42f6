package chat

import (
	"context"
	"errors"
	"time"
)

// A Backend asks a server and sends. Its methods may be called from many
// goroutines; each may take as long as its context. Text that it returns is as
// strangers wrote it.
type Backend interface {
	// Self is whose conversations they are.
	Self() Peer
	// Run follows what happens and tells it, until ctx ends: the state of the
	// connection first. It sends what waits in the queue whenever there is a
	// connection. An error means that going on can't help.
	Run(ctx context.Context, tell func(News)) error
	// Conversations returns the conversations that the server knows, newest
	// first.
	Conversations(ctx context.Context) ([]Conversation, error)
	// Page returns messages of the conversation with an address.
	Page(ctx context.Context, peer string, at Cursor) (Page, error)
	// Search returns messages of all conversations that hold words, newest first.
	Search(ctx context.Context, words string) ([]Message, error)
	// Message returns one message by its frame id.
	Message(ctx context.Context, id string) (Message, error)
	// Resolve finds who a name or an address is, with warnings in sentences.
	Resolve(ctx context.Context, who string) (Peer, []string, error)
	// Send puts a draft into the queue and returns it as it will be sent. It is
	// told of from then on as [News.Message].
	Send(d Draft) (Message, error)
	// Queue returns what is in the queue, oldest first.
	Queue() []Message
	// Drop takes a draft that isn't sent out of the queue.
	Drop(id string) error
	// Save writes what a message carries, opened, to a file that doesn't exist yet
	// and returns its path. A folder or an empty path means a name of its own.
	Save(ctx context.Context, id, path string) (string, error)
}

// A Peer is the other side of a conversation, or oneself.
type Peer struct {
	Address  string
	Name     string   // empty when it has none
	Warnings []string // what is to be known before one believes the name
}

// Label is what the peer is called: the name, else the address.
func (p Peer) Label() string {
	if p.Name != "" {
		return p.Name
	}
	return p.Address
}

// A Conversation is one line of the list.
type Conversation struct {
	Peer     Peer
	Last     *Message // newest; nil when there is none
	Received int64    // messages received in it
}

// A Cursor says which page: the zero value is the newest.
type Cursor struct {
	Older string // what is older than a page, as its Older says
	Newer string // what is newer
}

// A Page is a part of a conversation, oldest first.
type Page struct {
	Messages     []Message
	Older, Newer string // to go on from
	Start        bool   // nothing is older
	End          bool   // nothing is newer
}

// A State is what became of a message.
type State string

// States of a message.
const (
	Queued      State = "queued"      // waits for a connection
	Sending     State = "sending"     // on its way
	Seen        State = "seen"        // the network has it
	Confirmed   State = "confirmed"   // in a block
	Unconfirmed State = "unconfirmed" // its block left the chain
	Refused     State = "refused"     // for a reason
	Dropped     State = "dropped"     // for a reason
)

// A Message is one message as its reader may see it.
type Message struct {
	ID      string   // frame id, in hexadecimal; empty before it is signed
	Draft   string   // id in the queue, while it is there
	TxID    string   // of its transaction
	Peers   []string // addresses of the conversations that it belongs to
	Mine    bool
	Source  string // name or address, as signed
	Address string // that signed
	Time    int64  // the sender's word, Unix milliseconds; 0: none
	State   State
	Reason  string // why it is refused or dropped
	Height  int32  // of its block; -1 while unconfirmed

	Forged     string // why its signature isn't the address's; empty: it was verified
	Encryption string // plain, ECC, ...
	Locked     string // why it can't be opened; then Text is empty
	Type       string // message type, as signed
	FileName   string
	Size       int    // bytes, opened
	Text       string // when it is text; 16 KiB of it at most
	Cut        bool   // Text is only its beginning
	Picture    *Picture
	Re         string // frame id answered
	Parts      string // of a message in parts: what is there and what is missing
	Copied     bool   // its sender meant somebody else
}

// key identifies a message in a book: by its draft until it leaves the queue.
func (m *Message) key() string {
	if m.Draft != "" {
		return "draft " + m.Draft
	}
	return m.ID
}

// A Draft is a message before it is signed.
type Draft struct {
	To     Peer
	Text   string
	File   string // path; then Text is empty
	Re     string // frame id answered
	Sealed bool   // encrypted as strongly as the other can read; else anyone can
}

// A Connection is how things stand with the server.
type Connection struct {
	Up    bool
	Since time.Time
	Err   string // why it is down; empty before the first attempt has ended
}

// News is one thing that happened. Exactly one field is set, but for Fresh.
type News struct {
	Connection *Connection
	Tip        int32    // height of the chain's last block, plus one; 0: not set
	Message    *Message // new or changed
	Sent       string   // a draft that has left the queue
	Trouble    string   // why what waits isn't sent now, for people
	Stale      bool     // the history was made anew: what was read is to be read again
	Fresh      bool     // with Message: it just came, it isn't a change
}

// ErrOffline says that only the server knows, and that it doesn't answer.
var ErrOffline = errors.New("the server doesn't answer")

// ErrStale says that a cursor belongs to a history that was made anew.
var ErrStale = errors.New("the server's history was made anew")
