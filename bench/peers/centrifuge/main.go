// Centrifuge is a server with the Centrifuge library: its broker in memory, no
// history, JSON over WebSocket at /connection/websocket. Anyone may subscribe to
// any channel.
package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/centrifugal/centrifuge"

	"github.com/metaim/metaim/bench/peers/internal/peer"
)

func run() error {
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		return err
	}
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{}}, nil
	})
	node.OnConnect(func(c *centrifuge.Client) {
		c.OnSubscribe(func(_ centrifuge.SubscribeEvent, reply centrifuge.SubscribeCallback) {
			reply(centrifuge.SubscribeReply{}, nil)
		})
	})
	if err := node.Run(); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/connection/websocket", centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
		// Its own pings want a text frame in answer, which the readers don't know.
		PingPongConfig: centrifuge.PingPongConfig{PingInterval: -1},
	}))
	err = peer.Serve("Centrifuge library", "github.com/centrifugal/centrifuge", mux, func(channel string, sent int64, size int) error {
		_, err := node.Publish(channel, peer.JSON(sent, size))
		return err
	})
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return errors.Join(err, node.Shutdown(ctx))
}

func main() { peer.Main(run) }
