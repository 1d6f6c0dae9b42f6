package p2p

import (
	"slices"
	"sync"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
)

// A sessionID names a connection; 0 is none.
type sessionID uint64

// An inventory decides which transaction is asked of which connection: each
// once, from the first that announced it; when it doesn't arrive in time, from
// the next that did, and from the first again after the last. It knows no clock.
//
// Memory: a want for each transaction announced and not delivered, at most
// maxAnnounced for each connection. What is announced beyond that is passed over,
// with its number told: a connection can't be left unread instead, since what
// makes room are the answers that come behind the announcements.
type inventory struct {
	mu         sync.Mutex
	retryAfter time.Duration
	seen       *seenSet
	wanted     map[frame.Hash]*want
	sessions   map[sessionID]*announced
	asked      []question // oldest first, some long answered
}

// A want is a transaction that was announced and not delivered.
type want struct {
	announcers []sessionID
	asked      sessionID
	deadline   time.Time // of the question to asked
	tries      int
}

// announced is what a connection has told of.
type announced struct {
	queue []frame.Hash // to be asked of it; entries that were answered meanwhile are passed over
	wants int          // in which it is an announcer
	open  int          // questions to it
	busy  bool         // it sends a block, behind which answers wait
}

// A question is kept to find those without an answer.
type question struct {
	hash     frame.Hash
	to       sessionID
	deadline time.Time
}

func newInventory(retryAfter time.Duration, seen int) *inventory {
	return &inventory{
		retryAfter: retryAfter,
		seen:       newSeenSet(seen),
		wanted:     make(map[frame.Hash]*want),
		sessions:   make(map[sessionID]*announced),
	}
}

func (v *inventory) join(id sessionID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.sessions[id] = new(announced)
}

// leave forgets a connection, and returns the connections that now have more to
// ask.
func (v *inventory) leave(id sessionID) []sessionID {
	v.mu.Lock()
	defer v.mu.Unlock()
	var kick []sessionID
	for hash, w := range v.wanted {
		i := slices.Index(w.announcers, id)
		if i < 0 {
			continue
		}
		next := w.after(id)
		w.announcers = slices.Delete(w.announcers, i, i+1)
		if len(w.announcers) == 0 {
			delete(v.wanted, hash)
			continue
		}
		if w.asked == id {
			w.asked = 0
			v.enqueue(hash, next)
			kick = append(kick, next)
		}
	}
	delete(v.sessions, id)
	slices.Sort(kick)
	return slices.Compact(kick)
}

// announce takes hashes that a connection told of, and returns how many of them
// found no room.
func (v *inventory) announce(id sessionID, hashes []frame.Hash) (missed int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.sessions[id]
	if s == nil {
		return 0
	}
	for _, hash := range hashes {
		switch {
		case v.seen.has(hash):
		case s.wants >= maxAnnounced:
			missed++
		default:
			v.add(hash, id, s)
		}
	}
	return missed
}

// roomy says whether half of the room for a connection's announcements is free.
func (v *inventory) roomy(id sessionID) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.sessions[id]
	return s != nil && s.wants <= maxAnnounced/2
}

// busy notes that a connection begins or ends to send a block.
func (v *inventory) busy(id sessionID, is bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if s := v.sessions[id]; s != nil {
		s.busy = is
	}
}

func (v *inventory) add(hash frame.Hash, id sessionID, s *announced) {
	w := v.wanted[hash]
	if w == nil {
		w = new(want)
		v.wanted[hash] = w
	}
	if len(w.announcers) >= maxAnnouncers || slices.Contains(w.announcers, id) {
		return
	}
	w.announcers = append(w.announcers, id)
	s.wants++
	if w.asked == 0 {
		v.enqueue(hash, id)
	}
}

// next returns transactions to ask of a connection now, such that at most max
// questions to it are open. It asks in batches: while more than half of max are
// open it returns none.
func (v *inventory) next(id sessionID, now time.Time, max int) []frame.Hash {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.sessions[id]
	if s == nil || s.open > max/2 {
		return nil
	}
	var ask []frame.Hash
	for len(s.queue) > 0 && s.open < max {
		hash := s.queue[0]
		s.queue = s.queue[1:]
		w := v.wanted[hash]
		if w == nil || w.asked != 0 || !slices.Contains(w.announcers, id) {
			continue
		}
		w.asked, w.deadline = id, now.Add(v.retryAfter)
		w.tries++
		s.open++
		v.asked = append(v.asked, question{hash: hash, to: id, deadline: w.deadline})
		ask = append(ask, hash)
	}
	return ask
}

// expire finds the questions without an answer and returns the connections that
// now have more to ask.
func (v *inventory) expire(now time.Time) []sessionID {
	v.mu.Lock()
	defer v.mu.Unlock()
	var kick []sessionID
	for len(v.asked) > 0 && !v.asked[0].deadline.After(now) {
		q := v.asked[0]
		v.asked = v.asked[1:]
		w := v.wanted[q.hash]
		if w == nil || w.asked != q.to || !w.deadline.Equal(q.deadline) {
			continue
		}
		if s := v.sessions[q.to]; s != nil && s.busy && len(w.announcers) == 1 {
			w.deadline = now.Add(v.retryAfter)
			v.asked = append(v.asked, question{hash: q.hash, to: q.to, deadline: w.deadline})
			continue
		}
		kick = append(kick, q.to) // it has room for another question
		if next := v.again(q.hash, w); next != 0 {
			kick = append(kick, next)
		}
	}
	slices.Sort(kick)
	return slices.Compact(kick)
}

// notFound notes that a connection doesn't have a transaction, and returns the
// one to ask instead, if another announced it. With no other the question stays
// open until its time is over, and is then put again.
func (v *inventory) notFound(id sessionID, hash frame.Hash) sessionID {
	v.mu.Lock()
	defer v.mu.Unlock()
	w := v.wanted[hash]
	if w == nil || w.asked != id || len(w.announcers) < 2 {
		return 0
	}
	return v.again(hash, w)
}

// again hands a transaction to the next announcer, or gives up on it.
func (v *inventory) again(hash frame.Hash, w *want) sessionID {
	last := w.asked
	v.closeQuestion(w)
	if w.tries >= maxTries {
		v.forget(hash, w)
		return 0
	}
	next := w.after(last)
	v.enqueue(hash, next)
	return next
}

// arrived notes a transaction, and says whether it is new.
func (v *inventory) arrived(hash frame.Hash) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.seen.has(hash) {
		return false
	}
	v.seen.add(hash)
	if w := v.wanted[hash]; w != nil {
		v.closeQuestion(w)
		v.forget(hash, w)
	}
	return true
}

// clearSeen lets everything be delivered once more.
func (v *inventory) clearSeen() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.seen.clear()
}

func (v *inventory) enqueue(hash frame.Hash, id sessionID) {
	if s := v.sessions[id]; s != nil {
		s.queue = append(s.queue, hash)
	}
}

func (v *inventory) closeQuestion(w *want) {
	if s := v.sessions[w.asked]; s != nil {
		s.open--
	}
	w.asked = 0
}

func (v *inventory) forget(hash frame.Hash, w *want) {
	for _, id := range w.announcers {
		if s := v.sessions[id]; s != nil {
			s.wants--
		}
	}
	delete(v.wanted, hash)
}

// after returns the announcer after id, the first after the last; id itself when
// it is the only one.
func (w *want) after(id sessionID) sessionID {
	i := slices.Index(w.announcers, id)
	return w.announcers[(i+1)%len(w.announcers)]
}
