package door

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"
)

// names answers every question for an address with this machine's.
func names(t *testing.T) string {
	t.Helper()
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: packets, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		answer := new(dns.Msg)
		answer.SetReply(q)
		if q.Question[0].Qtype == dns.TypeA {
			answer.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1)}}
		}
		_ = w.WriteMsg(answer)
	})}
	done := make(chan error, 1)
	go func() { done <- server.ActivateAndServe() }()
	t.Cleanup(func() {
		_ = packets.Close()
		<-done
	})
	return packets.LocalAddr().String()
}

// authority runs Pebble, the ACME authority that Let's Encrypt tests with. It
// reaches the domains at a port of this machine.
func authority(t *testing.T, port int) (directory string, roots *x509.CertPool) {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	quiet := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	issuer := ca.New(quiet, store, "", 0, 1, map[string]ca.Profile{"default": {Description: "default"}})
	validator := va.New(quiet, 1, port, false, names(t), store)
	front := wfe.New(quiet, store, validator, issuer, false, false, 1, 1)
	server := httptest.NewTLSServer(front.Handler())
	t.Cleanup(server.Close)
	roots = x509.NewCertPool()
	roots.AddCert(server.Certificate())
	return server.URL + wfe.DirectoryPath, roots
}

// lockedLog keeps a log.
type lockedLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestACME: a certificate is had from a real authority, which asks back on the
// port that is served; a second start uses the one that was kept;
// a strange name gets none.
func TestACME(t *testing.T) {
	const domain = "messages.metaim.test"
	folder := filepath.Join(t.TempDir(), "certificates")
	l := listen(t)
	port := l.Addr().(*net.TCPAddr).Port
	directory, roots := authority(t, port)
	said := &lockedLog{}
	start := func(l net.Listener, directory string) (address string, stop func()) {
		automatic := Automatic{Domains: []string{domain}, Folder: folder, Directory: directory, Host: "127.0.0.1", Port: port, Roots: roots,
			Log: slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelDebug}))}
		config, keep, err := automatic.TLS()
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 2)
		go func() { done <- keep(ctx) }()
		go func() { done <- Serve(ctx, NewServer(hello, Times{}, quiet), tls.NewListener(l, config), time.Second) }()
		return l.Addr().String(), func() {
			cancel()
			for range 2 {
				if err := <-done; err != nil {
					t.Errorf("stopped: got %v, want no error", err)
				}
			}
		}
	}
	got := func(address, name string) (*x509.Certificate, string) {
		c, err := tls.Dial("tcp", address, unverified(func(c *tls.Config) { c.ServerName, c.NextProtos = name, []string{"h2", "http/1.1"} }))
		if err != nil {
			return nil, ""
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0], c.ConnectionState().NegotiatedProtocol
	}
	address, stop := start(l, directory)
	var first *x509.Certificate
	var protocol string
	for deadline := time.Now().Add(40 * time.Second); first == nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no certificate:\n%s", said)
		}
		first, protocol = got(address, domain)
	}
	if err := first.VerifyHostname(domain); err != nil || protocol != "h2" {
		t.Errorf("got %v, protocol %q, want a certificate of %s and h2", err, protocol, domain)
	}
	if other, _ := got(address, "other.metaim.test"); other != nil {
		t.Errorf("another name: got a certificate of %v, want none", other.DNSNames)
	}
	stop()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	address, stop = start(l, directory)
	defer stop()
	var again *x509.Certificate
	for deadline := time.Now().Add(patience); again == nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no certificate after a new start:\n%s", said)
		}
		again, _ = got(address, domain)
	}
	if !again.Equal(first) {
		t.Error("after a new start another certificate is served, want the one that was kept")
	}
	keys := 0
	err = filepath.Walk(folder, func(path string, info os.FileInfo, err error) error {
		if err == nil && strings.HasSuffix(path, ".key") {
			keys++
			err = CheckPrivate(path)
		}
		return err
	})
	if err != nil || keys == 0 {
		t.Errorf("keys: got %d, %v, want some that only their owner reads", keys, err)
	}
	if strings.Contains(said.String(), "PRIVATE KEY") {
		t.Errorf("the log has a key:\n%s", said)
	}
}
