package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"hash/maphash"
	"math"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/metaim/metaim/api/client"
)

// A Key lets its holder ask more than others, whatever the address, and where
// that needs a key hand in transactions. The server knows its SHA-256 only.
type Key struct {
	Name  string       // for the log
	Hash  [32]byte     // SHA-256 of what stands after "Authorization: Bearer "
	Quota client.Quota // 0: that of an address

	Writes bool // it is a key for Config.WriteKeys
}

// A knownKey is one of the server's.
type knownKey struct {
	hash   [32]byte
	policy policy
	writes bool
}

// key finds the key that has a hash. How long it takes says nothing of how much
// of the hash was right.
func (s *Server) key(hash [32]byte) *knownKey {
	var found *knownKey
	for i := range s.keys {
		if subtle.ConstantTimeCompare(s.keys[i].hash[:], hash[:]) == 1 {
			found = &s.keys[i]
		}
	}
	return found
}

// A visitor is who shares a quota: all requests with one key, or else all from
// one IPv4 address or one IPv6 /64.
type visitor struct {
	key    [32]byte // hash of the key; zeros: none
	prefix netip.Prefix
}

// A policy is a quota in the terms that it is counted in.
type policy struct {
	name   string // as the RateLimit headers call it
	units  int
	window time.Duration
}

func policyOf(name string, q client.Quota) policy {
	return policy{name: name, units: q.Units, window: time.Duration(q.Seconds) * time.Second}
}

// each returns how long one unit takes to come back.
func (p policy) each() time.Duration { return max(p.window/time.Duration(p.units), 1) }

func (p policy) header() string {
	return fmt.Sprintf("%q;q=%d;w=%d", p.name, p.units, int(p.window/time.Second))
}

// A quota is what is left to one visitor: the moment when all of it will be back.
type quota struct {
	mu     sync.Mutex
	policy policy
	full   time.Time
}

// take uses units. It tells how many are left and when all are back, and when
// there aren't enough, after what time there will be; then none are used.
func (q *quota) take(now time.Time, units int) (left int, reset, wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	p := q.policy
	at := q.full
	if at.Before(now) {
		at = now
	}
	at = at.Add(time.Duration(min(units, p.units)) * p.each())
	if over := at.Sub(now) - p.window; over > 0 {
		wait = over
	} else {
		q.full = at
	}
	reset = max(q.full.Sub(now), 0)
	return int(max(p.window-reset, 0) / p.each()), reset, wait
}

// Visitors are kept in shards, each in two generations: when the young one is
// full the old one is forgotten. So the table never grows, and who asks all the
// time is never forgotten; who is has a whole quota again.
const (
	quotaShards    = 16
	quotaPerMember = 2048 // visitors in one generation of one shard
)

type quotas struct {
	seed   maphash.Seed
	shards [quotaShards]struct {
		mu         sync.Mutex
		young, old map[visitor]*quota
	}
}

func newQuotas() *quotas { return &quotas{seed: maphash.MakeSeed()} }

// of returns the quota of a visitor, which may be a new one.
func (t *quotas) of(who visitor, p policy) *quota {
	shard := &t.shards[maphash.Comparable(t.seed, who)%quotaShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	q := shard.young[who]
	if q != nil {
		return q
	}
	if q = shard.old[who]; q == nil {
		q = &quota{policy: p}
	}
	if shard.young == nil || len(shard.young) >= quotaPerMember {
		shard.old, shard.young = shard.young, map[visitor]*quota{}
	}
	shard.young[who] = q
	return q
}

// size returns how many visitors are known.
func (t *quotas) size() int {
	n := 0
	for i := range t.shards {
		shard := &t.shards[i]
		shard.mu.Lock()
		n += len(shard.young) + len(shard.old)
		shard.mu.Unlock()
	}
	return n
}

var errKey = problem(http.StatusUnauthorized, "bad_key", "the key in Authorization is none of this server's; without one, the quota of the address holds")

// identify finds out who asks, and with what quota.
func (s *Server) identify(r *http.Request, a *asking) error {
	from := s.remote(r)
	a.who = visitor{prefix: prefixOf(from)}
	a.writes = !s.cfg.WriteKeys
	if given := r.Header.Get("Authorization"); given != "" {
		scheme, token, _ := strings.Cut(given, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return errKey
		}
		hash := sha256.Sum256([]byte(strings.TrimSpace(token)))
		k := s.key(hash)
		if k == nil {
			return errKey
		}
		a.who = visitor{key: hash}
		a.writes = a.writes || k.writes
		a.quota = s.quotas.of(a.who, k.policy)
		return nil
	}
	if !from.IsLoopback() || s.cfg.LimitLoopback {
		a.quota = s.quotas.of(a.who, policyOf("default", s.limits.Quota))
	}
	return nil
}

// hopsMost bounds how much of X-Forwarded-For is read.
const hopsMost = 16

// remote returns the address that a request comes from: that of the socket, or
// when that is a trusted proxy's, the last in X-Forwarded-For that is none.
func (s *Server) remote(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{} // no network: all such share a quota
	}
	from := at.Addr().Unmap().WithZone("")
	if !s.trusted(from) {
		return from
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && i >= len(hops)-hopsMost; i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			return from
		}
		from = hop.Unmap().WithZone("")
		if !s.trusted(from) {
			return from
		}
	}
	return from
}

func (s *Server) trusted(from netip.Addr) bool {
	for _, p := range s.cfg.TrustedProxies {
		if p.Contains(from) {
			return true
		}
	}
	return false
}

func prefixOf(a netip.Addr) netip.Prefix {
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// charge takes units of who asks, says in the headers what is left, and refuses
// when that isn't enough.
func (s *Server) charge(w http.ResponseWriter, a *asking, units int) error {
	if a.quota == nil || units == 0 {
		return nil
	}
	p := a.quota.policy
	left, reset, wait := a.quota.take(time.Now(), units)
	h := w.Header()
	h.Set("RateLimit-Policy", p.header())
	h.Set("RateLimit", fmt.Sprintf("%q;r=%d;t=%d", p.name, left, seconds(reset)))
	return p.over(units, wait)
}

// charge takes units of a quota, if there is one, and refuses when that isn't
// enough: what a request costs that comes over a WebSocket.
func (q *quota) charge(units int) error {
	if q == nil {
		return nil
	}
	_, _, wait := q.take(time.Now(), units)
	return q.policy.over(units, wait)
}

// over refuses what can be had only after a wait.
func (p policy) over(units int, wait time.Duration) error {
	if wait <= 0 {
		return nil
	}
	return &client.Problem{Status: http.StatusTooManyRequests, Code: client.CodeQuota, Retryable: true, RetryAfter: max(seconds(wait), 1),
		Detail: fmt.Sprintf("the quota of %d units in %d s is used up; this would take %d", p.units, seconds(p.window), units)}
}

func seconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }

// places are what sockets and streams hold while they last.
type places struct {
	mu  sync.Mutex
	all int
	by  map[visitor]int
}

// hold takes a place for a connection that stays, in all and of who asks. What it
// returns gives the place back.
func (s *Server) hold(r *http.Request) (release func(), err error) {
	a := askingOf(r.Context())
	p := &s.places
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all >= s.limits.Connections {
		s.counts.crowded.Add(1)
		return nil, unavailable("this server has all the connections that it takes")
	}
	if a.quota != nil && p.by[a.who] >= s.limits.PrefixConnections {
		s.counts.crowded.Add(1)
		return nil, &client.Problem{Status: http.StatusTooManyRequests, Code: "connections", Retryable: true, RetryAfter: 30,
			Detail: fmt.Sprintf("there are %d connections from this address already", p.by[a.who])}
	}
	if p.by == nil {
		p.by = map[visitor]int{}
	}
	p.all++
	p.by[a.who]++
	who := a.who
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.all--
		if p.by[who]--; p.by[who] == 0 {
			delete(p.by, who)
		}
	}), nil
}
