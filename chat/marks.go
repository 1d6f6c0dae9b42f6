package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// Marks remember between runs which messages were read and who was written with,
// in one file that only its owner can read. Messages are remembered one by one,
// by frame id: when blocks are replaced and messages change their places, what
// was read stays read and nothing new is taken for old.
type Marks struct {
	path   string
	saving sync.Mutex // one writer of the file at a time

	mu    sync.Mutex
	state marksFile
	read  map[string]map[string]bool // by peer: ids
}

// marksFile is the file as JSON.
type marksFile struct {
	Version int          `json:"version"`
	Network string       `json:"network,omitempty"`
	Peers   []markedPeer `json:"peers"` // written with most recently first
}

type markedPeer struct {
	Address string   `json:"address"`
	Name    string   `json:"name,omitempty"`
	Sealed  *bool    `json:"sealed,omitempty"` // as chosen; nil: not chosen
	Read    []string `json:"read"`             // beginnings of frame ids, oldest first
}

const (
	marksVersion = 1
	mostMarks    = 4 * pageSize // of one conversation: more than is ever compared with
	mostPeers    = 2_000
	mostMarkFile = 64 << 20
	markLength   = 24 // hexadecimal digits of a frame id that are kept
)

// OpenMarks reads the file; one that isn't there is an empty one.
func OpenMarks(path string) (*Marks, error) {
	m := &Marks{path: path, state: marksFile{Version: marksVersion}, read: map[string]map[string]bool{}}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // only read
	data, err := io.ReadAll(io.LimitReader(file, mostMarkFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > mostMarkFile || json.Unmarshal(data, &m.state) != nil || m.state.Version != marksVersion {
		return nil, fmt.Errorf("%s is not a file of read marks: move it away to start anew", path)
	}
	for _, p := range m.state.Peers {
		m.read[p.Address] = map[string]bool{}
		for _, id := range p.Read {
			m.read[p.Address][id] = true
		}
	}
	return m, nil
}

func mark(id string) string { return id[:min(len(id), markLength)] }

// Network returns the network that the file was begun on; empty for a new one.
func (m *Marks) Network() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.Network
}

// Begin writes down the network, so that a later run knows it when no server
// answers.
func (m *Marks) Begin(network string) error {
	m.mu.Lock()
	same := m.state.Network == network
	m.state.Network = network
	m.mu.Unlock()
	if same {
		return nil
	}
	return m.Save()
}

// Peers returns who was written with, most recently first.
func (m *Marks) Peers() []Peer {
	m.mu.Lock()
	defer m.mu.Unlock()
	peers := make([]Peer, len(m.state.Peers))
	for i, p := range m.state.Peers {
		peers[i] = Peer{Address: p.Address, Name: p.Name}
	}
	return peers
}

// Read tells whether a message in a conversation was read.
func (m *Marks) Read(peer, id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.read[peer][mark(id)]
}

// Sealed tells whether the conversation is encrypted by choice; chosen is false
// when nothing was chosen.
func (m *Marks) Sealed(peer string) (sealed, chosen bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.state.Peers {
		if p.Address == peer && p.Sealed != nil {
			return *p.Sealed, true
		}
	}
	return false, false
}

// Choose remembers whether a conversation is encrypted.
func (m *Marks) Choose(peer Peer, sealed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at(peer).Sealed = &sealed
}

// Add remembers messages as read, oldest first, and the peer as the last one
// written with. It tells whether anything changed.
func (m *Marks) Add(peer Peer, ids ...string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := len(m.state.Peers)
	p := m.at(peer)
	changed := len(m.state.Peers) != before || peer.Name != "" && p.Name != peer.Name
	if peer.Name != "" {
		p.Name = peer.Name
	}
	read := m.read[peer.Address]
	for _, id := range ids {
		id = mark(id)
		if id == "" || read[id] {
			continue
		}
		changed = true
		read[id] = true
		p.Read = append(p.Read, id)
	}
	if over := len(p.Read) - mostMarks; over > 0 {
		for _, id := range p.Read[:over] {
			delete(read, id)
		}
		p.Read = slices.Clone(p.Read[over:])
	}
	return changed
}

// at returns the entry of a peer, moved to the front.
func (m *Marks) at(peer Peer) *markedPeer {
	p := markedPeer{Address: peer.Address, Name: peer.Name}
	if i := slices.IndexFunc(m.state.Peers, func(p markedPeer) bool { return p.Address == peer.Address }); i >= 0 {
		p = m.state.Peers[i]
		m.state.Peers = slices.Delete(m.state.Peers, i, i+1)
	} else {
		m.read[peer.Address] = map[string]bool{}
	}
	m.state.Peers = slices.Insert(m.state.Peers, 0, p)
	for len(m.state.Peers) > mostPeers {
		last := m.state.Peers[len(m.state.Peers)-1]
		delete(m.read, last.Address)
		m.state.Peers = m.state.Peers[:len(m.state.Peers)-1]
	}
	return &m.state.Peers[0]
}

// Save writes the file, whole or not at all.
func (m *Marks) Save() error {
	m.saving.Lock()
	defer m.saving.Unlock()
	m.mu.Lock()
	data, err := json.Marshal(m.state)
	m.mu.Unlock()
	if err != nil || m.path == "" {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(m.path), 0o700); err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(m.path), ".marks-*") // 0600
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	err = errors.Join(err, file.Close())
	if err == nil {
		err = os.Rename(file.Name(), m.path)
	}
	if err != nil {
		_ = os.Remove(file.Name()) // it may be gone
	}
	return err
}
