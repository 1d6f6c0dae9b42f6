package main

import (
	"log/slog"
	"net"
	"os"
)

// tellSystemd tells the service manager of a state, if there is one that listens:
// sd_notify(3).
func tellSystemd(log *slog.Logger, state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"}) // "@" is known to mean an abstract name
	if err == nil {
		_, err = conn.Write([]byte(state))
		_ = conn.Close()
	}
	if err != nil {
		log.Warn("the service manager can't be told", "state", state, "error", err)
	}
}
