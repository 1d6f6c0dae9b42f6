package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
)

// certificate writes a certificate of 127.0.0.1 and its key.
func certificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// TestServerWithTokens: a server over HTTPS that asks for tokens, as an operator
// sets it up and a person uses it: who has none reads, and can't send.
func TestServerWithTokens(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "devnet")
	devnet := startDevnet(t, dir)
	certFile, keyFile := certificate(t)
	tokens := filepath.Join(t.TempDir(), "write-tokens")
	token := strings.TrimSpace(run(t, metaim(t, "token", "new", "alice", "--append", tokens)))
	cmd := metaim(t, "serve", "--network", "regtest", "--store", "sqlite:"+filepath.Join(t.TempDir(), "index.db"), "--listen", "127.0.0.1:0",
		"--write-tokens", tokens, "--tls-cert", certFile, "--tls-key", keyFile, "--limit-loopback", "true", "--devnet-dir", dir)
	p := start(t, cmd)
	url := p.awaitLine(`(?m)^metaim: serving regtest on (https://127\.0\.0\.1:\d+)$`)[1]

	w := newWallet(t, t.TempDir(), "alice", "bob")
	bob := w.keys["bob"].Address(frame.Regtest)
	command := func(extra []string, args ...string) *exec.Cmd {
		cmd := w.command(url, args...)
		cmd.Env = append(cmd.Env, append(extra, "SSL_CERT_FILE="+certFile)...)
		return cmd
	}
	run(t, command(nil, "key", "fund", "alice", "--devnet", devnet.control))
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	send := []string{"send", "--from", "alice", "--to", bob, "hello"}
	for _, test := range []struct {
		name  string
		extra []string
		says  string
	}{
		{"no token", nil, `shows? a key`},
		{"a token that isn't the server's", []string{"METAIM_TOKEN=metaim_other"}, `none of this server's`},
		{"the line's hash", []string{"METAIM_TOKEN=" + hashIn(t, tokens)}, `none of this server's`},
	} {
		out, err := command(test.extra, send...).CombinedOutput()
		if err == nil || !regexp.MustCompile(test.says).Match(out) {
			t.Errorf("%s: got %v, %s, want it refused because %q", test.name, err, out, test.says)
		}
	}
	run(t, command([]string{"METAIM_TOKEN_FILE=" + file}, send...))
	if inbox := run(t, command(nil, "inbox", bob)); !strings.Contains(inbox, "hello") {
		t.Errorf("the inbox, read without a token: got %q, want the message", inbox)
	}
}

func hashIn(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`[0-9a-f]{64}`).FindString(string(text))
}
