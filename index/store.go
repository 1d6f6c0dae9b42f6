package index

import (
	"context"
	"errors"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/nprotocol"
)

// A Store keeps an index. One process writes it; any number read it. Its
// implementations are index/sqlite and index/postgres; index/indextest says what
// they must do alike.
type Store interface {
	// View reads in one snapshot: what is read belongs to one tip.
	View(ctx context.Context, read func(View) error) error
	// Update writes in one transaction: all of it or, when write fails or the
	// process dies, nothing. It never calls write twice.
	Update(ctx context.Context, write func(Tx) error) error
	Close() error
}

// ErrNotFound says that the index holds no such thing.
var ErrNotFound = errors.New("not in the index")

// A View reads an index at one tip. Slices returned belong to the caller.
type View interface {
	// Tip returns the last block; Height is -1 before the first.
	Tip() (Tip, error)
	// BlockAt returns the block of the best chain at a height, or ErrNotFound.
	BlockAt(height int32) (Tip, error)
	// Blocks returns the blocks of the best chain from a height on, oldest first.
	Blocks(from int32, limit int) ([]Tip, error)
	// Unconfirmed returns the transactions in state Seen in the order they were
	// first seen.
	Unconfirmed() ([]*Saved, error)
	// Epoch names this history: it changes when the index is made anew.
	Epoch() (string, error)
	// LastSeq returns the seq of the last event, 0 before the first.
	LastSeq() (int64, error)

	// Facts reads the confirmed facts needed: valid frame ids, the largest time
	// stamps of valid contents and subjects, names, peers, proved keys. What
	// isn't there stays out of the maps.
	Facts(need Need) (*Facts, error)

	// Entries lists frames by arrival.
	Entries(q EntryQuery) ([]*Entry, error)
	// Conversations lists those of an address, the newest first.
	Conversations(q ConversationQuery) ([]Conversation, error)
	// Coins lists the coins of an address by Lead, all of a transaction together.
	Coins(q CoinQuery) ([]Coin, error)
	// KeyRecords returns the newest messages by which the address published keys,
	// the newest first: see IsKeyRecord.
	KeyRecords(address frame.KeyHash, limit int) ([]*Entry, error)
	// Occurrences returns all entries with the frame id, by arrival.
	Occurrences(id frame.ID) ([]*Entry, error)
	// InTransaction returns the frames of a transaction, by output; none when the
	// index holds no such transaction.
	InTransaction(txid frame.Hash) ([]*Entry, error)
	// Proof returns what shows that a transaction with frames is in a block of
	// the best chain: of several that are there the first. It fails with
	// ErrNotFound when there is no such transaction, or it isn't in a block whose
	// proofs were given to PutBlock.
	Proof(txid frame.Hash) (*Proof, error)
	// Name returns the record of a name ever validly held, or ErrNotFound.
	Name(name string) (*nprotocol.Name, error)
	// NamesOf returns the records of the names whose last holder is the address.
	NamesOf(address frame.KeyHash) ([]*nprotocol.Name, error)
	// PeersOf returns the peer records of the address.
	PeersOf(address frame.KeyHash) ([]*nprotocol.Peer, error)
	// NameEntries returns the newest N frames of a name, refused ones too, by
	// arrival.
	NameEntries(name string, limit int) ([]*Entry, error)
	// PublicKey returns the key that confirmed valid frames prove for the
	// address, or ErrNotFound.
	PublicKey(address frame.KeyHash) ([]byte, error)
	// Events returns events with After < seq, oldest first.
	Events(q EventQuery) ([]*Event, error)
	// Seqs returns the seqs of what Events finds of addresses: the first Limit of
	// them, ascending. Who reads page by page gives them to Events, some at a time,
	// so that the addresses are looked up once and not for each page. Some may
	// belong to events that don't concern the addresses: Events leaves those out.
	// ok is false where it costs less to read the log itself.
	Seqs(q EventQuery) (seqs []int64, ok bool, err error)
	// Counts returns the number of confirmed frames by verdict.
	Counts() (map[frame.Verdict]int64, error)
	// Confirmed calls yield with every confirmed frame in canonical order until
	// it fails.
	Confirmed(yield func(*Entry) error) error
	// AllNames and AllPeers call yield with every record, names by bytes, peers
	// by address hash, then IP.
	AllNames(yield func(*nprotocol.Name) error) error
	AllPeers(yield func(*nprotocol.Peer) error) error
}

// A Need says which facts the judge may touch.
type Need struct {
	FrameIDs   []frame.ID
	ContentIDs []frame.ID
	Names      []string
	Peers      []nprotocol.PeerKey
	Subjects   []nprotocol.Subject
	Keys       []frame.KeyHash
}

// A Saved is a transaction that is already in the store.
type Saved struct {
	Row     int64 // the store's own number of the transaction
	State   State
	Height  int32
	Seen    int64
	Entries []*Entry
}

// A Tx writes an index inside one transaction, and reads what it wrote.
type Tx interface {
	View

	// Lookup finds transactions by id; the result holds only those there.
	// Where an id is there more than once, unconfirmed comes before confirmed.
	Lookup(txids []frame.Hash) (map[frame.Hash]*Saved, error)
	// AtHeight returns the confirmed transactions of a height in order.
	AtHeight(height int32) ([]*Saved, error)

	// Save writes transactions: new ones (Row 0) in the order given, known ones
	// with their new place, state and decisions. It sets Row and returns the
	// arrivals of the frames, one slice for each transaction.
	Save(placed []*Placed) ([][]int64, error)

	// PutBlock appends a block to the chain, with its proofs; CutBlocks removes
	// those above a height.
	PutBlock(b *Block, stateHash [32]byte) error
	CutBlocks(above int32) error
	// PutNames and PutPeers write records; DeleteNames and DeletePeers remove
	// those of names and peers that were never validly held.
	PutNames(names []*nprotocol.Name) error
	PutPeers(peers []*nprotocol.Peer) error
	DeleteNames(names []string) error
	DeletePeers(peers []nprotocol.PeerKey) error
	// ValidRecords calls yield with the confirmed valid records of the names and
	// peers given, in canonical order, with the times of their blocks.
	ValidRecords(names []string, peers []nprotocol.PeerKey, yield func(*nprotocol.Record, nprotocol.Moment) error) error

	// AppendEvents writes events and sets their Seq. Entry is not written, only
	// Arrival.
	AppendEvents(events []*Event) error
}
