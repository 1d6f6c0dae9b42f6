package load

import (
	"encoding/json"

	"github.com/metaim/metaim/api/client"
)

// Metaim subscribes to events of our server from now on, by filters; without
// any, to all that count. Latencies are of messages whose time stamp is Now.
func Metaim(addr string, connections int, filter ...client.Filter) (Plan, error) {
	sub, err := json.Marshal(client.Request{Type: "sub", ID: "s", Filter: filter, From: "now"})
	if err != nil {
		return Plan{}, err
	}
	return Plan{Addr: addr, Path: "/v1/ws", Subprotocol: client.Subprotocol, Connections: connections,
		Send: []string{string(sub)}, Ready: `"caught_up"`, Marker: `"time_stamp":"`}, nil
}

// Khatru subscribes to all text notes from now on. Latencies are of notes whose
// content begins with Now.
func Khatru(addr string, connections int) Plan {
	return Plan{Addr: addr, Path: "/", Connections: connections,
		Send: []string{`["REQ","s",{"kinds":[1],"limit":0}]`}, Ready: `["EOSE"`, Marker: `"content":"`}
}

// Centrifuge subscribes to a channel of a server with the Centrifuge library,
// which puts several publications into one frame when there is much to send.
// Latencies are of publications with Now as their field t. The channel's name
// must not need to be escaped in JSON.
func Centrifuge(addr, channel string, connections int) Plan {
	return Plan{Addr: addr, Path: "/connection/websocket", Connections: connections,
		Send:  []string{`{"id":1,"connect":{}}` + "\n" + `{"id":2,"subscribe":{"channel":"` + channel + `"}}`},
		Ready: `"id":2`, Lines: true, Marker: `"t":`}
}

// GorillaHub listens to the hub, which says hello when it knows a client.
func GorillaHub(addr string, connections int) Plan {
	return Plan{Addr: addr, Path: "/", Connections: connections, Ready: "hello", Marker: `"t":`}
}
