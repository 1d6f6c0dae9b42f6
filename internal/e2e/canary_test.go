package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metaim/metaim/devnet"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/testpg"
	"github.com/metaim/metaim/signer"
)

// canaries are secrets that must turn up nowhere, by what they are.
type canaries map[string]string

// in returns which of them a text holds, in whatever spelling logs may give them.
func (c canaries) in(text string) (found []string) {
	for what, secret := range c {
		for _, spelling := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret), url.UserPassword("", secret).String()[1:], hex.EncodeToString([]byte(secret)),
			base64.StdEncoding.EncodeToString([]byte(secret))} {
			if strings.Contains(text, spelling) {
				found = append(found, what)
				break
			}
		}
	}
	return found
}

// TestCanariesAreFound keeps the test below from passing because it looks for
// nothing.
func TestCanariesAreFound(t *testing.T) {
	c := canaries{"a password": "p@ss/word 1"}
	for _, test := range []struct {
		name, text string
		found      bool
	}{
		{"plain", "x p@ss/word 1 y", true}, {"in a URL", "http://u:p%40ss%2Fword%201@h", true}, {"as a query", "k=p%40ss%2Fword+1", true},
		{"hexadecimal", hex.EncodeToString([]byte("p@ss/word 1")), true}, {"base64", "Basic " + base64.StdEncoding.EncodeToString([]byte("p@ss/word 1")), true},
		{"not there", "pass word", false},
	} {
		if got := len(c.in(test.text)) > 0; got != test.found {
			t.Errorf("%s: got %v, want %v", test.name, got, test.found)
		}
	}
}

// TestNoSecretsInLogs runs a server with everything secret that it can have, at
// debug level, sends and receives as the demo does, does much wrong on purpose,
// and looks through all that was said. What a command prints because it was asked
// for is not looked at: a message's text for its reader, a new token.
func TestNoSecretsInLogs(t *testing.T) {
	t.Parallel()
	secrets := canaries{
		"the passphrase": "canary-passphrase-6b1f", "a wrong passphrase": "canary-wrong-passphrase-77aa",
		"the database's password": "canary-database-91c4", "a wrong RPC password": "canary-rpc-50fe",
		"the body of a plain message": "canary plain body 20d7", "the body of an encrypted message": "canary encrypted body e03b",
		"a token that isn't the server's": "canary-token-c9d2", "a broadcaster's token": "canary-broadcaster-18ee",
	}
	said := &transcript{}
	home := t.TempDir()
	store := &signer.Keystore{Path: filepath.Join(home, "keys.age"), WorkFactor: 10}
	keys := map[string]signer.Key{}
	for _, label := range []string{"alice", "bob"} {
		keys[label] = signer.NewKey()
		if _, err := store.Add(within(t), secrets["the passphrase"], label, keys[label]); err != nil {
			t.Fatal(err)
		}
		secrets["the key of "+label] = keys[label].WIF(frame.Regtest)
		scalar := keys[label].Private().Scalar
		secrets["the number of "+label+"'s key"] = hex.EncodeToString(scalar[:])
	}

	dir := filepath.Join(t.TempDir(), "devnet")
	net := startDevnet(t, dir)
	connection, err := devnet.ReadConnection(dir)
	if err != nil {
		t.Fatal(err)
	}
	secrets["the RPC password"] = connection.RPCPassword
	rpc := func(password string) string {
		u, err := url.Parse(connection.RPC)
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword(connection.RPCUser, password)
		return u.String()
	}
	database, err := url.Parse(testpg.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	database.User = url.UserPassword(database.User.Username(), secrets["the database's password"])

	tokens := filepath.Join(t.TempDir(), "write-tokens")
	made := metaim(t, "token", "new", "alice", "--append", tokens)
	secrets["the token"] = strings.TrimSpace(run(t, made))

	// A server, which is asked to submit with a wrong password at first.
	serving := func(password string) *server {
		t.Helper()
		cmd := metaim(t, "serve", "--network", "regtest", "--log", "debug", "--listen", "127.0.0.1:0", "--peer", connection.P2P, "--write-tokens", tokens,
			"--submit", "node", "--submit", "arc:http://127.0.0.1:1")
		cmd.Env = append(cmd.Env, "METAIM_NODE_RPC="+rpc(password), "METAIM_STORE="+database.String(), "METAIM_SUBMIT_TOKEN="+secrets["a broadcaster's token"])
		s := &server{process: start(t, cmd), t: t}
		s.url = s.awaitLine(`(?m)^metaim: serving regtest on (http://127\.0\.0\.1:\d+)$`)[1]
		return s
	}
	ask := func(s *server, token string, args ...string) (string, error) {
		t.Helper()
		cmd := metaim(t, args...)
		cmd.Env = environment(cacheOf(home), "METAIM_HOME="+home, "METAIM_PASSPHRASE="+secrets["the passphrase"], "METAIM_NETWORK=regtest",
			"METAIM_SERVER="+s.url, "METAIM_TOKEN="+token, "METAIM_NODE_RPC="+rpc(secrets["a wrong RPC password"]), "METAIM_STORE="+database.String())
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, said
		err := cmd.Run()
		return out.String(), err
	}
	do := func(s *server, args ...string) string {
		t.Helper()
		out, err := ask(s, secrets["the token"], args...)
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, said)
		}
		return out
	}
	fails := func(s *server, token string, args ...string) {
		t.Helper()
		out, err := ask(s, token, args...)
		if err == nil {
			t.Fatalf("%v: got no error, want one\n%s", args, out)
		}
		_, _ = said.Write([]byte(out))
	}

	s := serving(secrets["a wrong RPC password"])
	_, _ = said.Write([]byte(do(s, "key", "fund", "alice", "--devnet", net.control)))
	bob := keys["bob"].Address(frame.Regtest)
	fails(s, secrets["the token"], "send", "--from", "alice", "--to", bob, secrets["the body of a plain message"])
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	first := s
	s = serving(connection.RPCPassword)
	for _, args := range [][]string{
		{"send", "--from", "alice", "--to", bob, "--wait", secrets["the body of a plain message"]},
		{"send", "--from", "alice", "--to", bob, "--wait", "--encrypt", "AES", "--shared", "friends", secrets["the body of an encrypted message"]},
	} {
		if args[len(args)-2] == "friends" {
			secrets["a shared key"] = strings.TrimSpace(do(s, "key", "share", "new", "friends", "--from", "alice"))
		}
		_, _ = said.Write([]byte(do(s, args...)))
	}
	if got := do(s, "inbox", bob); !strings.Contains(got, secrets["the body of a plain message"]) {
		t.Errorf("the inbox: got %q, want the message: nothing would be shown by its absence from logs", got)
	}
	_, _ = said.Write([]byte(do(s, "config") + do(s, "key", "list")))

	// What goes wrong is said, and not with what.
	fails(s, secrets["a token that isn't the server's"], "send", "--from", "alice", "--to", bob, "text")
	for _, args := range [][]string{
		{"serve", "--network", "regtest", "--store", "postgres://u:" + secrets["the database's password"] + "@127.0.0.1:1/x", "--peer", "127.0.0.1:1", "--listen", "nonsense"},
		{"state", "--store", "postgres://u:" + secrets["the database's password"] + "@127.0.0.1:1/x?connect_timeout=1"},
		{"state", "--store", "postgres://u:" + secrets["the database's password"] + "@127.0.0.1:port/x"},
		{"serve", "--network", "regtest", "--source", "rpc:" + strings.Replace(rpc(secrets["a wrong RPC password"]), "http", "ftp", 1)},
		{"broadcast", "--node-rpc", rpc(secrets["a wrong RPC password"]), "00"},
	} {
		fails(s, "", args...)
	}
	wrong := metaim(t, "key", "export", "alice")
	wrong.Env = environment(cacheOf(home), "METAIM_HOME="+home, "METAIM_PASSPHRASE="+secrets["a wrong passphrase"], "METAIM_NETWORK=regtest")
	wrong.Stdout, wrong.Stderr = said, said
	if err := wrong.Run(); err == nil {
		t.Error("a wrong passphrase: got no error, want one")
	}
	imported := metaim(t, "key", "import", "carol")
	imported.Env = environment(cacheOf(home), "METAIM_HOME="+home, "METAIM_PASSPHRASE="+secrets["the passphrase"], "METAIM_NETWORK=regtest")
	imported.Stdin = strings.NewReader(secrets["the key of bob"] + "x\n")
	imported.Stdout, imported.Stderr = said, said
	if err := imported.Run(); err == nil {
		t.Error("a key with a letter too many: got no error, want one")
	}
	fails(s, "", "token", "new", "eve", "--append", unfit(t, secrets["the token"]))
	askOddly(t, s.url, secrets)
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if err := net.stop(); err != nil {
		t.Fatal(err)
	}

	for what, text := range map[string]string{
		"the commands": said.String(), "the first server": first.said.String(), "the server": s.said.String(), "the devnet": net.said.String(),
	} {
		if len(text) == 0 {
			t.Errorf("%s said nothing at all", what)
		}
		for _, secret := range secrets.in(text) {
			t.Errorf("%s: the output has %s", what, secret)
		}
	}
	if !strings.Contains(s.said.String(), "level=DEBUG") {
		t.Error("the server's log has nothing of level debug")
	}
}

// unfit returns a file of tokens that holds the token instead of its hash.
func unfit(t *testing.T, token string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "unfit")
	if err := os.WriteFile(path, []byte("alice "+token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// askOddly puts secrets where careless programs put them.
func askOddly(t *testing.T, server string, secrets canaries) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	token, body := secrets["the token"], secrets["the body of a plain message"]
	for _, path := range []string{"/v1/info?token=" + url.QueryEscape(token), "/v1/" + url.PathEscape(token), "/v1/names/" + url.PathEscape(body), "/v1/messages?q=" + url.QueryEscape(body)} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			req, err := http.NewRequestWithContext(ctx, method, server+path, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Basic "+token)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
		}
	}
}
