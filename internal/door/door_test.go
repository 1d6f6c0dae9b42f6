package door

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

const patience = 20 * time.Second

var quiet = slog.New(slog.DiscardHandler)

// hello answers with the protocol, and echoes WebSockets.
var hello = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if !websocket.IsWebSocketUpgrade(r) {
		fmt.Fprint(w, r.Proto)
		return
	}
	up := websocket.Upgrader{}
	ws, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	for {
		kind, data, err := ws.ReadMessage()
		if err != nil || ws.WriteMessage(kind, data) != nil {
			return
		}
	}
})

// serve serves on a port of this machine until the test ends.
func serve(t *testing.T, l net.Listener, times Times, config *tls.Config) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	address := l.Addr().String()
	if config != nil {
		l = tls.NewListener(l, config)
	}
	go func() { done <- Serve(ctx, NewServer(hello, times, quiet), l, time.Second) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("serve: got %v, want no error", err)
			}
		case <-time.After(patience):
			t.Error("serve didn't end")
		}
	})
	return address
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// asked tells whether a connection is answered.
func asked(c net.Conn) bool {
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return false
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	return err == nil && resp.StatusCode == http.StatusOK
}

func TestConnections(t *testing.T) {
	for _, test := range []struct {
		name   string
		limits Limits
		most   int // 0: as many as are tried
	}{
		{"no bounds", Limits{}, 0},
		{"in all", Limits{All: 3, Prefix: 100}, 3},
		{"of one address", Limits{All: 100, Prefix: 2}, 2},
		{"of an exempt one", Limits{All: 100, Prefix: 2, Exempt: netip.Addr.IsLoopback}, 0},
		{"in all, exempt or not", Limits{All: 4, Prefix: 2, Exempt: netip.Addr.IsLoopback}, 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			address := serve(t, Limit(listen(t), test.limits), Times{}, nil)
			var open []net.Conn
			for range 6 {
				c := dial(t, address)
				if !asked(c) {
					break
				}
				open = append(open, c)
			}
			want := test.most
			if want == 0 {
				want = 6
			}
			if len(open) != want {
				t.Fatalf("connections: got %d, want %d", len(open), want)
			}
			for i, c := range open {
				if !asked(c) { // who was there first goes on as ever
					t.Errorf("connection %d: not answered when there were too many", i)
				}
			}
			_ = open[0].Close()
			deadline := time.Now().Add(patience)
			for !asked(dial(t, address)) {
				if time.Now().After(deadline) {
					t.Fatal("a place isn't given back")
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
}

// An address is one of a listener that can say where connections come from.
type address string

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }

func TestPrefixes(t *testing.T) {
	l := &limited{limits: Limits{Prefix: 1, Exempt: func(a netip.Addr) bool { return a == netip.MustParseAddr("192.0.2.9") }}, by: map[netip.Prefix]int{}}
	for _, test := range []struct {
		name, from string
		enters     bool
	}{
		{"first", "192.0.2.1:1", true}, {"same address", "192.0.2.1:2", false}, {"another", "192.0.2.2:1", true},
		{"IPv4 in IPv6", "[::ffff:192.0.2.2]:1", false}, {"IPv6", "[2001:db8::1]:1", true}, {"same /64", "[2001:db8::2]:1", false},
		{"another /64", "[2001:db8:0:1::1]:1", true}, {"link-local", "[fe80::1%eth0]:1", true}, {"no address", "@", true},
		{"no address again", "@", false}, {"exempt", "192.0.2.9:1", true}, {"exempt again", "192.0.2.9:2", true},
	} {
		if got := l.enter(l.prefixOf(address(test.from))); got != test.enters {
			t.Errorf("%s: got %v, want %v", test.name, got, test.enters)
		}
	}
}

// TestGuestIsATCPConnection: what an answer needs of a connection beside net.Conn
// is there still.
func TestGuestIsATCPConnection(t *testing.T) {
	l := Limit(listen(t), Limits{All: 1})
	defer l.Close()
	dial(t, l.Addr().String())
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, ok := c.(syscall.Conn); !ok {
		t.Error("no syscall.Conn: a WebSocket would need a goroutine for each write")
	}
	if _, ok := c.(interface{ CloseWrite() error }); !ok {
		t.Error("no CloseWrite: last words would be lost")
	}
}

// TestSlowHeaders: who doesn't finish his headers, or asks nothing, is shown out;
// meanwhile others are served.
func TestSlowHeaders(t *testing.T) {
	address := serve(t, listen(t), Times{Header: 500 * time.Millisecond, Idle: 500 * time.Millisecond}, nil)
	slow := map[string]net.Conn{}
	for name, text := range map[string]string{
		"nothing": "", "half a line": "GET / HT", "headers without end": "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n", "idle": "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		slow[name] = dial(t, address)
		_, _ = io.WriteString(slow[name], text)
	}
	if !asked(dial(t, address)) {
		t.Error("another isn't answered meanwhile")
	}
	for name, c := range slow {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.ReadAll(c); err != nil {
			t.Errorf("%s: got %v, want the end of the connection", name, err)
		}
	}
}

func TestLargeHeaders(t *testing.T) {
	address := serve(t, listen(t), Times{}, nil)
	c := dial(t, address)
	_ = c.SetDeadline(time.Now().Add(patience))
	go func() {
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n")
		for {
			if _, err := io.WriteString(c, "A: "+strings.Repeat("b", 1000)+"\r\n"); err != nil {
				return
			}
		}
	}()
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil && !strings.Contains(err.Error(), "reset") || err == nil && !strings.Contains(line, "431") {
		t.Errorf("headers without end: got %q, %v, want 431", line, err)
	}
	if !asked(dial(t, address)) {
		t.Error("another isn't answered afterwards")
	}
}

// pair writes a certificate of 127.0.0.1 with a serial number, and its key.
func pair(t *testing.T, dir string, serial int64) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// unverified are settings of a client that looks at certificates by itself.
func unverified(change ...func(*tls.Config)) *tls.Config {
	c := &tls.Config{InsecureSkipVerify: true}
	for _, f := range change {
		f(c)
	}
	return c
}

func serialOf(t *testing.T, address string) int64 {
	t.Helper()
	c, err := tls.Dial("tcp", address, unverified())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

// TestTLS: HTTP/1.1, HTTP/2 and WebSockets together over TLS 1.2 and 1.3, and
// nothing older.
func TestTLS(t *testing.T) {
	certFile, keyFile := pair(t, t.TempDir(), 1)
	certificate, err := OpenCertificate(certFile, keyFile, quiet)
	if err != nil {
		t.Fatal(err)
	}
	address := serve(t, Limit(listen(t), Limits{All: 100}), Times{}, certificate.TLS())
	for _, test := range []struct {
		name     string
		versions [2]uint16
		http2    bool
		want     string // "": no connection
	}{
		{"HTTP/2 over TLS 1.3", [2]uint16{tls.VersionTLS13, tls.VersionTLS13}, true, "HTTP/2.0"},
		{"HTTP/2 over TLS 1.2", [2]uint16{tls.VersionTLS12, tls.VersionTLS12}, true, "HTTP/2.0"},
		{"HTTP/1.1", [2]uint16{tls.VersionTLS12, tls.VersionTLS13}, false, "HTTP/1.1"},
		{"TLS 1.1", [2]uint16{tls.VersionTLS10, tls.VersionTLS11}, false, ""},
	} {
		transport := &http.Transport{ForceAttemptHTTP2: test.http2, TLSClientConfig: unverified(func(c *tls.Config) {
			c.MinVersion, c.MaxVersion = test.versions[0], test.versions[1]
		})}
		resp, err := (&http.Client{Transport: transport, Timeout: patience}).Get("https://" + address)
		got := ""
		if err == nil {
			body, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			got = string(body)
		}
		if got != test.want {
			t.Errorf("%s: got %q, %v, want %q", test.name, got, err, test.want)
		}
		transport.CloseIdleConnections()
	}
	dialer := websocket.Dialer{TLSClientConfig: unverified()}
	ws, _, err := dialer.Dial("wss://"+address+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	if err := ws.WriteMessage(websocket.TextMessage, []byte("echo")); err != nil {
		t.Fatal(err)
	}
	if _, data, err := ws.ReadMessage(); err != nil || string(data) != "echo" {
		t.Errorf("WebSocket: got %q, %v, want echo", data, err)
	}
}

// TestSlowHandshake: who begins no TLS, or half of it, is shown out.
func TestSlowHandshake(t *testing.T) {
	certFile, keyFile := pair(t, t.TempDir(), 1)
	certificate, err := OpenCertificate(certFile, keyFile, quiet)
	if err != nil {
		t.Fatal(err)
	}
	address := serve(t, listen(t), Times{Header: 500 * time.Millisecond}, certificate.TLS())
	for _, text := range []string{"", "\x16\x03\x01\x02\x00\x01"} {
		c := dial(t, address)
		_, _ = io.WriteString(c, text)
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.ReadAll(c); err != nil {
			t.Errorf("after %q: got %v, want the end of the connection", text, err)
		}
	}
}

// TestCertificateIsReadAgain: a new pair is served without a restart; one that
// doesn't fit leaves the old one in service, and so does a key that others can
// read.
func TestCertificateIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := pair(t, dir, 1)
	var log strings.Builder
	said := make(chan string, 100)
	logger := slog.New(slog.NewTextHandler(writerFunc(func(b []byte) { said <- string(b) }), nil))
	certificate, err := OpenCertificate(certFile, keyFile, logger)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- certificate.Watch(ctx, 5*time.Millisecond) }()
	address := serve(t, listen(t), Times{}, certificate.TLS())
	hear := func(what string) {
		t.Helper()
		for {
			select {
			case line := <-said:
				log.WriteString(line)
				if strings.Contains(line, what) {
					return
				}
			case <-time.After(patience):
				t.Fatalf("the log doesn't say %q:\n%s", what, log.String())
			}
		}
	}
	if got := serialOf(t, address); got != 1 {
		t.Errorf("at first: got certificate %d, want 1", got)
	}
	pair(t, dir, 2)
	deadline := time.Now().Add(patience)
	for serialOf(t, address) != 2 {
		if time.Now().After(deadline) {
			t.Fatal("the new certificate isn't served")
		}
	}
	if err := os.WriteFile(certFile, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	hear("can't be read again")
	if got := serialOf(t, address); got != 2 {
		t.Errorf("with a broken file: got certificate %d, want 2", got)
	}
	pair(t, dir, 3)
	if err := os.Chmod(keyFile, 0o644); err != nil {
		t.Fatal(err)
	}
	hear("chmod 600")
	if err := os.Chmod(keyFile, 0o600); err != nil {
		t.Fatal(err)
	}
	for serialOf(t, address) != 3 {
		if time.Now().After(deadline) {
			t.Fatal("the third certificate isn't served")
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("watch: got %v, want no error", err)
	}
	if strings.Contains(log.String(), "PRIVATE KEY") {
		t.Errorf("the log has the key:\n%s", log.String())
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(b []byte) (int, error) {
	f(b)
	return len(b), nil
}

func TestCheckPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		mode os.FileMode
		good bool
	}{{0o600, true}, {0o400, true}, {0o640, false}, {0o604, false}, {0o620, false}, {0o644, false}} {
		if err := os.Chmod(path, test.mode); err != nil {
			t.Fatal(err)
		}
		if err := CheckPrivate(path); (err == nil) != test.good && modesMean {
			t.Errorf("%o: got %v, want good %v", test.mode, err, test.good)
		}
	}
}
