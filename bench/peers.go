package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/metaim/metaim/bench/load"
	"github.com/metaim/metaim/bench/measure"
)

// buildPeers builds the programs of bench/peers, a module of its own, into
// bin/peers and returns that folder.
var buildPeers = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/metaim/metaim").Output()
	if err != nil {
		return "", fmt.Errorf("find the source of the peers: %w", err)
	}
	root := strings.TrimSpace(string(out))
	folder := filepath.Join(root, "bin", "peers")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-C", filepath.Join(root, "bench", "peers"), "-o", folder+string(filepath.Separator), "./...")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the peers: %w\n%s", err, bytes.TrimSpace(out))
	}
	return folder, nil
})

// startPeer starts one of the peers: "khatru" (with "-database" and a URL it
// verifies and stores), "centrifuge", "gorillahub" or "nostrpublish".
func startPeer(ctx context.Context, name string, args ...string) (*measure.Child, error) {
	folder, err := buildPeers()
	if err != nil {
		return nil, err
	}
	return measure.Start(ctx, nil, filepath.Join(folder, name), args...)
}

// fanOutChannel is where the Centrifuge library publishes.
const fanOutChannel = "c"

// A pusher is a server whose fan-out is measured, in a process of its own.
type pusher struct {
	pid  int
	plan func(connections int) load.Plan
	// publish publishes messages of so many bytes at a rate a second, 0 for as
	// fast as it goes, and returns how long that took. Each holds when it was due.
	publish func(messages, bytes, rate int) (time.Duration, error)
}

// peerPusher makes a pusher of a peer that startPeer has started by that name.
func peerPusher(name string, child *measure.Child) (pusher, error) {
	plans := map[string]func(connections int) load.Plan{
		"khatru":     func(n int) load.Plan { return load.Khatru(child.Addr, n) },
		"centrifuge": func(n int) load.Plan { return load.Centrifuge(child.Addr, fanOutChannel, n) },
		"gorillahub": func(n int) load.Plan { return load.GorillaHub(child.Addr, n) },
	}
	plan := plans[name]
	if plan == nil {
		return pusher{}, fmt.Errorf("the peer %q has no fan-out", name)
	}
	return pusher{pid: child.PID(), plan: plan, publish: func(messages, bytes, rate int) (time.Duration, error) {
		return askToPublish(child, messages, bytes, rate)
	}}, nil
}

func askToPublish(child *measure.Child, messages, bytes, rate int) (time.Duration, error) {
	var answer struct {
		Published int           `json:"published"`
		Nanos     time.Duration `json:"nanos"`
	}
	err := child.Ask(map[string]any{"messages": messages, "bytes": bytes, "rate": rate, "channel": fanOutChannel}, &answer)
	if err == nil && answer.Published != messages {
		err = fmt.Errorf("the peer has published %d messages of %d", answer.Published, messages)
	}
	return answer.Nanos, err
}

// quiet is how long nothing comes until the deliveries that are missing are held
// to be lost.
const quiet = 5 * time.Second

// paced measures messages at a rate to subscribers: deliveries as the work, CPU
// time of the server only, latencies. Value "lost" is the share of deliveries
// that never came, "pace" the share of the rate that was kept.
func (p pusher) paced(r *measure.Round, readers *load.Process, subscribers, bytes, rate int, during time.Duration) error {
	if err := readers.Connect(p.plan(subscribers)); err != nil {
		return err
	}
	messages := max(2, int(during.Seconds()*float64(rate)))
	r.Count(true, p.pid)
	r.Start()
	begun := load.Now()
	took, err := p.publish(messages, bytes, rate)
	if err != nil {
		return err
	}
	counts, err := readers.Await(int64(messages)*int64(subscribers), quiet)
	if err != nil {
		return err
	}
	r.Stop(float64(counts.Deliveries))
	r.Wall, r.Latency = time.Duration(counts.Last-begun), counts.Latency
	r.Set("lost", 1-float64(counts.Deliveries)/float64(messages*subscribers))
	r.Set("pace", min(1, float64(messages-1)/float64(rate)/took.Seconds()))
	return nil
}

// burst measures how fast messages go to subscribers when so many at a time are
// published as fast as it goes, and the next when all have come: a server that
// drops who falls behind by more than that loses nobody. Value "lost" is the
// share of deliveries that never came.
func (p pusher) burst(r *measure.Round, readers *load.Process, subscribers, bytes, bursts, messages int) error {
	plan := p.plan(subscribers)
	plan.Marker, plan.Pause = "", 5*time.Millisecond
	if err := readers.Connect(plan); err != nil {
		return err
	}
	var wall time.Duration
	var came, lost int64
	r.Count(true, p.pid)
	r.Start()
	for range bursts {
		begun, want := load.Now(), int64(messages)*int64(subscribers)
		if _, err := p.publish(messages, bytes, 0); err != nil {
			return err
		}
		counts, err := readers.Await(want, quiet)
		if err != nil {
			return err
		}
		wall += time.Duration(counts.Last - begun)
		came, lost = came+counts.Deliveries, lost+want-counts.Deliveries
		if lost > 0 {
			break // who was dropped would be waited for in vain
		}
	}
	r.Stop(float64(came))
	r.Wall = wall
	r.Set("lost", float64(lost)/float64(came+lost))
	return nil
}
