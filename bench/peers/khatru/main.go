// Khatru is a Nostr relay with khatru: it verifies ids and signatures, as khatru
// always does, and stores in PostgreSQL before it answers, when it is given a
// database.
//
// What is asked of it on standard input goes to the listeners at once, neither
// verified nor stored: that is its fan-out alone. Events that come over
// WebSocket go the whole way.
package main

import (
	"flag"
	"runtime"
	"strings"
	"time"

	"github.com/fiatjaf/eventstore/postgresql"
	"github.com/fiatjaf/khatru"
	"github.com/nbd-wtf/go-nostr"

	"github.com/metaim/metaim/bench/peers/internal/peer"
)

func run() error {
	database := flag.String("database", "", "URL of a PostgreSQL database; without it nothing is stored")
	flag.Parse()
	relay := khatru.NewRelay()
	if *database != "" {
		db := postgresql.PostgresBackend{DatabaseURL: *database, KeepRecentEvents: true}
		if err := db.Init(); err != nil {
			return err
		}
		defer db.Close()
		relay.StoreEvent = append(relay.StoreEvent, db.SaveEvent)
		relay.QueryEvents = append(relay.QueryEvents, db.QueryEvents)
		relay.CountEvents = append(relay.CountEvents, db.CountEvents)
		relay.DeleteEvent = append(relay.DeleteEvent, db.DeleteEvent)
		relay.ReplaceEvent = append(relay.ReplaceEvent, db.ReplaceEvent)
	}
	events := make(chan *nostr.Event)
	defer close(events)
	// Khatru broadcasts each event in a goroutine of its own; more than there
	// are cores would only wait for each other.
	for range runtime.GOMAXPROCS(0) {
		go func() {
			for ev := range events {
				relay.BroadcastEvent(ev)
			}
		}()
	}
	return peer.Serve("khatru", "github.com/fiatjaf/khatru", relay, func(_ string, sent int64, size int) error {
		events <- &nostr.Event{
			ID: strings.Repeat("1", 64), PubKey: strings.Repeat("2", 64), Sig: strings.Repeat("3", 128),
			CreatedAt: nostr.Timestamp(time.Now().Unix()), Kind: nostr.KindTextNote, Tags: nostr.Tags{},
			Content: string(peer.Text(sent, size)),
		}
		return nil
	})
}

func main() { peer.Main(run) }
