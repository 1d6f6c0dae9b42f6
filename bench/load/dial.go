package load

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // RFC 6455 wants it
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// patience is how long a server may take to take a connection and to answer what
// is sent on it.
const patience = 30 * time.Second

// largestReply bounds a frame that comes before a connection is ready.
const largestReply = 1 << 20

// dial opens a connection and waits until it is ready. rest is what was read
// beyond.
func dial(ctx context.Context, plan *Plan) (conn *net.TCPConn, rest []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", plan.Addr)
	if err != nil {
		return nil, nil, err
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil, nil, errors.Join(fmt.Errorf("%s isn't reached by TCP", plan.Addr), c.Close())
	}
	stop := context.AfterFunc(ctx, func() { _ = tcp.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if rest, err = subscribe(tcp, plan); err != nil {
		return nil, nil, errors.Join(err, tcp.Close())
	}
	return tcp, rest, nil
}

func subscribe(conn *net.TCPConn, plan *Plan) (rest []byte, err error) {
	if plan.Stalled {
		if err := conn.SetReadBuffer(1); err != nil { // the kernel makes it its least
			return nil, err
		}
	}
	in := bufio.NewReader(conn)
	if err := upgrade(conn, in, plan); err != nil {
		return nil, err
	}
	var out []byte
	for _, text := range plan.Send {
		out = appendMasked(out, opcodeText, []byte(text))
	}
	if _, err := conn.Write(out); err != nil {
		return nil, err
	}
	for ready := plan.Ready == ""; !ready; {
		head, payload, err := readFrame(in)
		if err != nil {
			return nil, fmt.Errorf("wait for %s: %w", plan.Ready, err)
		}
		switch head & 0xf {
		case opcodeClose:
			return nil, fmt.Errorf("wait for %s: %w", plan.Ready, errClosed)
		case opcodePing:
			if _, err := conn.Write(appendMasked(nil, opcodePong, payload)); err != nil {
				return nil, err
			}
		default:
			ready = bytes.Contains(payload, []byte(plan.Ready))
		}
	}
	rest, err = in.Peek(in.Buffered())
	return bytes.Clone(rest), err
}

// upgrade is the handshake (RFC 6455, 4.1).
func upgrade(conn net.Conn, in *bufio.Reader, plan *Plan) error {
	nonce := make([]byte, 16)
	if _, err := rand.Read(nonce); err != nil {
		return err
	}
	key := base64.StdEncoding.EncodeToString(nonce)
	request := "GET " + plan.Path + " HTTP/1.1\r\nHost: " + plan.Addr +
		"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + "\r\n"
	if plan.Subprotocol != "" {
		request += "Sec-WebSocket-Protocol: " + plan.Subprotocol + "\r\n"
	}
	if _, err := io.WriteString(conn, request+"\r\n"); err != nil {
		return err
	}
	reply, err := http.ReadResponse(in, &http.Request{Method: http.MethodGet})
	if err != nil {
		return err
	}
	defer reply.Body.Close() //nolint:errcheck // it has none, or the connection ends
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	if reply.StatusCode != http.StatusSwitchingProtocols ||
		reply.Header.Get("Sec-WebSocket-Accept") != base64.StdEncoding.EncodeToString(sum[:]) {
		return fmt.Errorf("the server answers %s, not with a WebSocket", reply.Status)
	}
	return nil
}

// readFrame reads a frame and returns the first byte of its header.
func readFrame(in *bufio.Reader) (head byte, payload []byte, err error) {
	var b [10]byte
	if _, err := io.ReadFull(in, b[:2]); err != nil {
		return 0, nil, err
	}
	if b[1]&masked != 0 {
		return 0, nil, errMasked
	}
	size := uint64(b[1])
	switch b[1] {
	case 126:
		_, err = io.ReadFull(in, b[2:4])
		size = uint64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		_, err = io.ReadFull(in, b[2:10])
		size = binary.BigEndian.Uint64(b[2:])
	}
	if err != nil {
		return 0, nil, err
	}
	if size > largestReply {
		return 0, nil, fmt.Errorf("a frame of %d bytes: %w", size, errTooLarge)
	}
	payload = make([]byte, size)
	_, err = io.ReadFull(in, payload)
	return b[0], payload, err
}
