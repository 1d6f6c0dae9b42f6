package broadcast_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/testarc"
	"github.com/metaim/metaim/signer"
	"github.com/metaim/metaim/signer/broadcast"
)

// sample is a transaction with its extended format, of coins that don't exist.
func sample(t *testing.T) *broadcast.Transaction {
	t.Helper()
	key := signer.NewKey()
	w := wallet(t, key, coinFor(key.KeyHash()))
	signed, err := w.Build(signer.Request{Pay: []signer.Output{{KeyHash: key.KeyHash(), Satoshis: 1000}}})
	if err != nil {
		t.Fatal(err)
	}
	return &broadcast.Transaction{ID: signed.TxID, Raw: signed.Raw, Extended: signed.Extended}
}

// coinFor makes a transaction out of nothing that pays 100,000 satoshis.
func coinFor(to frame.KeyHash) []byte {
	raw := []byte{1, 0, 0, 0, 1}
	raw = append(raw, make([]byte, 32+4)...)
	raw = append(raw, 0, 0xff, 0xff, 0xff, 0xff, 1, 0xa0, 0x86, 1, 0, 0, 0, 0, 0, 25, 0x76, 0xa9, 20)
	raw = append(raw, to[:]...)
	return append(raw, 0x88, 0xac, 0, 0, 0, 0)
}

// competing is the id of another transaction.
var competing = strings.Repeat("ab", 32)

func arcOf(t *testing.T, s *testarc.Server, change func(*broadcast.ARCConfig)) *broadcast.ARC {
	t.Helper()
	cfg := broadcast.ARCConfig{Service: broadcast.Service{URL: s.URL(), Timeout: 500 * time.Millisecond}, Settle: 300 * time.Millisecond}
	if change != nil {
		change(&cfg)
	}
	arc, err := broadcast.NewARC(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return arc
}

// TestARCOutcomes goes through every state and every error of ARC and Arcade.
func TestARCOutcomes(t *testing.T) {
	orphan, held := broadcast.ErrOrphan, broadcast.ErrHeld
	double, missing := broadcast.ErrDoubleSpend, broadcast.ErrMissingInputs
	unavailable := broadcast.ErrUnavailable
	type b = testarc.Behaviour
	tests := []struct {
		name string
		does testarc.Behaviour
		want error // nil: accepted; errAny: refused for any other reason
	}{
		{"all is right", b{}, nil},
		{"queued", b{State: broadcast.StateQueued}, held},
		{"received", b{State: broadcast.StateReceived}, held},
		{"stored", b{State: broadcast.StateStored}, held},
		{"announced", b{State: broadcast.StateAnnounced}, held},
		{"requested", b{State: broadcast.StateRequested}, held},
		{"sent", b{State: broadcast.StateSent}, held},
		{"stored, then seen", b{State: broadcast.StateStored, Later: broadcast.StateSeen}, nil},
		{"queued, then rejected", b{State: broadcast.StateQueued, Later: broadcast.StateRejected, Info: "missing inputs"}, missing},
		{"accepted", b{State: broadcast.StateAccepted}, nil},
		{"orphan", b{State: broadcast.StateOrphan}, orphan},
		{"orphan until its parent comes", b{State: broadcast.StateOrphan, Later: broadcast.StateSeen}, nil},
		{"seen", b{State: broadcast.StateSeen}, nil},
		{"double spend", b{State: broadcast.StateDoubleSpend, Competing: []string{competing, "nonsense"}}, double},
		{"rejected", b{State: broadcast.StateRejected, Info: "bad-txns-something"}, errAny},
		{"rejected as missing inputs", b{State: broadcast.StateRejected, Info: "missing inputs"}, missing},
		{"rejected as a conflict", b{State: broadcast.StateRejected, Info: "txn-mempool-conflict"}, double},
		{"rejected in safe mode", b{State: broadcast.StateRejected, Info: "Safe mode: Warning: ..."}, broadcast.ErrSafeMode},
		{"rejected as known", b{State: broadcast.StateRejected, Info: "txn-already-known"}, nil},
		{"rejected in hostile words", b{State: broadcast.StateRejected, Info: "\x1b]0;x\a\u202e\n" + strings.Repeat("long ", 100)}, errAny},
		{"mined in a stale block", b{State: broadcast.StateStale}, nil},
		{"mined", b{State: broadcast.StateMined}, nil},
		{"a state that there isn't", b{State: "TELEPORTED"}, unavailable},
		{"400", b{Status: 400}, errAny},
		{"401", b{Status: 401}, broadcast.ErrUnauthorized},
		{"403", b{Status: 403}, broadcast.ErrUnauthorized},
		{"404", b{Status: 404}, unavailable},
		{"409", b{Status: 409}, unavailable},
		{"422", b{Status: 422}, errAny},
		{"429", b{Status: 429}, unavailable},
		{"429, then right", b{Status: 429, Busy: 2}, nil},
		{"460", b{Status: 460}, broadcast.ErrNeedsExtended},
		{"461", b{Status: 461}, errAny},
		{"462", b{Status: 462}, errAny},
		{"462 of missing inputs", b{Status: 462, Info: "missing inputs"}, missing},
		{"463", b{Status: 463}, errAny},
		{"464", b{Status: 464}, errAny},
		{"465", b{Status: 465}, broadcast.ErrFeeTooLow},
		{"466", b{Status: 466}, double},
		{"467", b{Status: 467}, errAny},
		{"468", b{Status: 468}, errAny},
		{"469", b{Status: 469}, errAny},
		{"470", b{Status: 470}, errAny},
		{"471", b{Status: 471}, errAny},
		{"472", b{Status: 472}, errAny},
		{"473", b{Status: 473}, broadcast.ErrFeeTooLow},
		{"474", b{Status: 474}, errAny},
		{"475", b{Status: 475}, errAny},
		{"476, which there isn't", b{Status: 476}, unavailable},
		{"500", b{Status: 500}, unavailable},
		{"502", b{Status: 502}, unavailable},
		{"503 with a long time", b{Status: 503, RetryAfter: "3600"}, unavailable},
		{"503 with a date", b{Status: 503, RetryAfter: "Sun, 06 Nov 2050 08:49:37 GMT"}, unavailable},
		{"503, then right", b{Status: 503, RetryAfter: "0", Busy: 1}, nil},
		{"down", b{Fault: testarc.Down}, unavailable},
		{"slow", b{Fault: testarc.Slow}, unavailable},
		{"accepts and drops", b{Fault: testarc.Drop}, nil}, // which Watch finds out
		{"another transaction", b{Fault: testarc.WrongTxID}, unavailable},
		{"10 MB", b{Fault: testarc.Big}, unavailable},
		{"a page", b{Fault: testarc.HTML}, unavailable},
		{"a page as a refusal", b{Fault: testarc.Forbidding}, unavailable},
		{"garbage", b{Fault: testarc.Garbage}, unavailable},
		{"elsewhere", b{Fault: testarc.Redirect}, unavailable},
		{"takes it and dies", b{Fault: testarc.TakesDies}, unavailable},
	}
	for _, state := range broadcast.States {
		if !slices.ContainsFunc(tests, func(tt struct {
			name string
			does testarc.Behaviour
			want error
		}) bool {
			return tt.does.State == state
		}) {
			t.Errorf("state %s isn't tried", state)
		}
	}
	for _, arcade := range []bool{false, true} {
		for _, tt := range tests {
			name := "arc: " + tt.name
			if arcade {
				name = "arcade: " + tt.name
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := testarc.New(t, nil)
				s.Behave(tt.does)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				err := arcOf(t, s, func(c *broadcast.ARCConfig) { c.Arcade = arcade }).Submit(ctx, sample(t))
				checkOutcome(t, err, tt.want)
				var refused *broadcast.Refused
				if tt.does.Competing != nil && errors.As(err, &refused) {
					want, _ := frame.ParseHash(competing)
					if !reflect.DeepEqual(refused.Competing, []frame.Hash{want}) {
						t.Errorf("competing: got %v, want %s", refused.Competing, want)
					}
				}
			})
		}
	}
}

// checkOutcome checks that an error is the outcome that is wanted and no other.
func checkOutcome(t *testing.T, err, want error) {
	t.Helper()
	var refused *broadcast.Refused
	isRefused := errors.As(err, &refused)
	undecided := errors.Is(err, broadcast.ErrUnavailable)
	switch {
	case err != nil && isRefused == undecided:
		t.Errorf("got %v, want either a refusal or ErrUnavailable", err)
	case want == errAny && (!isRefused || errors.Unwrap(refused) != nil):
		t.Errorf("got %v, want a refusal without a known reason", err)
	case want != errAny && !errors.Is(err, want):
		t.Errorf("got %v, want %v", err, want)
	}
	if isRefused && (len(refused.Reason) > 320 || strings.ContainsFunc(refused.Reason, func(r rune) bool { return !unicode.IsPrint(r) })) {
		t.Errorf("reason %q is too long or can't be printed", refused.Reason)
	}
}

// TestARCRequest checks what is sent: path, form and headers.
func TestARCRequest(t *testing.T) {
	tx := sample(t)
	raw := broadcast.Raw(tx.Raw)
	for _, tt := range []struct {
		name   string
		arcade bool
		tx     *broadcast.Transaction
		path   string
		body   []byte
		want   error
	}{
		{"arc, extended", false, tx, "/v1/tx", tx.Extended, nil},
		{"arc, raw", false, raw, "/v1/tx", tx.Raw, nil},
		{"arcade, extended", true, tx, "/tx", tx.Extended, nil},
		{"arcade, raw", true, raw, "/tx", nil, broadcast.ErrNeedsExtended},
	} {
		s := testarc.New(t, nil)
		s.Behave(testarc.Behaviour{Token: "secret"})
		arc := arcOf(t, s, func(c *broadcast.ARCConfig) {
			c.Arcade, c.Token = tt.arcade, "secret"
			c.CallbackURL, c.CallbackToken = "https://im.example.org/v1/callbacks/arc", "callback"
		})
		if err := arc.Submit(t.Context(), tt.tx); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
		asked := s.Asked("")
		if tt.want != nil {
			if len(asked) > 0 {
				t.Errorf("%s: %d requests were sent, want none", tt.name, len(asked))
			}
			continue
		}
		if len(asked) != 1 || asked[0].Path != tt.path || string(asked[0].Body) != string(tt.body) {
			t.Errorf("%s: got %v, want one request to %s with %x", tt.name, asked, tt.path, tt.body)
			continue
		}
		for name, want := range map[string]string{"Authorization": "Bearer secret", "X-CallbackUrl": "https://im.example.org/v1/callbacks/arc",
			"X-CallbackToken": "callback", "X-WaitFor": "SEEN_ON_NETWORK", "Content-Type": "application/octet-stream"} {
			if got := asked[0].Header.Get(name); got != want {
				t.Errorf("%s: header %s: got %q, want %q", tt.name, name, got, want)
			}
		}
	}
}

func TestARCConfig(t *testing.T) {
	for _, tt := range []struct {
		name, url, token string
		want             string // in the error; empty: fine
	}{
		{"https with a token", "https://arc.example.org/x/", "t", ""},
		{"http without one", "http://arc.example.org", "", ""},
		{"loopback with a token", "http://127.0.0.1:1", "t", ""},
		{"http with a token", "http://arc.example.org", "s3cret", "travel in clear"},
		{"user in the URL", "https://user:s3cret@arc.example.org", "", "apart from it"},
		{"query in the URL", "https://arc.example.org/?token=s3cret", "", "apart from it"},
		{"no URL", "arc.example.org", "", "no URL"},
		{"another scheme", "ftp://arc.example.org", "", "no URL"},
		{"line in a token", "https://arc.example.org", "s3cret\r\nX: y", "characters"},
	} {
		_, err := broadcast.NewARC(broadcast.ARCConfig{Service: broadcast.Service{URL: tt.url, Token: tt.token}})
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the error %q tells the secret", tt.name, err)
		}
	}
}

// TestARCNoSecrets lets every fault happen and looks for the token in the errors.
func TestARCNoSecrets(t *testing.T) {
	s := testarc.New(t, nil)
	arc := arcOf(t, s, func(c *broadcast.ARCConfig) { c.Token, c.Timeout = "s3cret", 100*time.Millisecond })
	tx := sample(t)
	for _, fault := range []testarc.Fault{testarc.Down, testarc.Slow, testarc.Big, testarc.HTML, testarc.Redirect} {
		s.Behave(testarc.Behaviour{Fault: fault})
		err := arc.Submit(t.Context(), tx)
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: got %v, want an error without the token", fault, err)
		}
	}
}

func TestARCMany(t *testing.T) {
	first, second := sample(t), sample(t)
	bare := broadcast.Raw(sample(t).Raw)
	for _, tt := range []struct {
		name   string
		arcade bool
		does   testarc.Behaviour
		want   []error
		fails  error
	}{
		{"all taken", false, testarc.Behaviour{}, []error{nil, nil, nil}, nil},
		{"arcade gets no raw one", true, testarc.Behaviour{}, []error{nil, nil, broadcast.ErrNeedsExtended}, nil},
		{"rejected", false, testarc.Behaviour{State: broadcast.StateRejected, Info: "missing inputs"},
			[]error{broadcast.ErrMissingInputs, broadcast.ErrMissingInputs, broadcast.ErrMissingInputs}, nil},
		{"about others", false, testarc.Behaviour{Fault: testarc.Elsewhere},
			[]error{broadcast.ErrUnavailable, broadcast.ErrUnavailable, broadcast.ErrUnavailable}, nil},
		{"fault", false, testarc.Behaviour{Status: 500}, nil, broadcast.ErrUnavailable},
		{"10 MB", false, testarc.Behaviour{Fault: testarc.Big}, nil, broadcast.ErrUnavailable},
		{"a page", false, testarc.Behaviour{Fault: testarc.HTML}, nil, broadcast.ErrUnavailable},
	} {
		s := testarc.New(t, nil)
		s.Behave(tt.does)
		got, err := arcOf(t, s, func(c *broadcast.ARCConfig) { c.Arcade = tt.arcade }).SubmitMany(t.Context(), []*broadcast.Transaction{first, second, bare})
		if !errors.Is(err, tt.fails) || len(got) != len(tt.want) {
			t.Errorf("%s: got %v, %v, want %v, %v", tt.name, got, err, tt.want, tt.fails)
			continue
		}
		for i := range got {
			if !errors.Is(got[i], tt.want[i]) {
				t.Errorf("%s: transaction %d: got %v, want %v", tt.name, i, got[i], tt.want[i])
			}
		}
	}
}

func TestARCStatus(t *testing.T) {
	tx := sample(t)
	for _, tt := range []struct {
		name string
		does testarc.Behaviour
		want broadcast.State
		err  error
	}{
		{"mined", testarc.Behaviour{Later: broadcast.StateMined}, broadcast.StateMined, nil},
		{"unknown", testarc.Behaviour{}, "", broadcast.ErrUnknown},
		{"another transaction", testarc.Behaviour{Later: broadcast.StateMined, Fault: testarc.WrongTxID}, "", broadcast.ErrUnavailable},
		{"a page", testarc.Behaviour{Fault: testarc.HTML}, "", broadcast.ErrUnavailable},
		{"10 MB", testarc.Behaviour{Fault: testarc.Big}, "", broadcast.ErrUnavailable},
		{"down", testarc.Behaviour{Fault: testarc.Down}, "", broadcast.ErrUnavailable},
	} {
		s := testarc.New(t, nil)
		s.Behave(tt.does)
		got, err := arcOf(t, s, nil).Status(t.Context(), tx.ID)
		if !errors.Is(err, tt.err) || err == nil && got.State != tt.want {
			t.Errorf("%s: got %v, %v, want %s, %v", tt.name, got, err, tt.want, tt.err)
		}
	}
}

func TestReadStatus(t *testing.T) {
	id := strings.Repeat("cd", 32)
	for _, tt := range []struct {
		name, body string
		want       broadcast.State
	}{
		{"as ARC sends it", `{"timestamp":"2024-01-01T00:00:00Z","txid":"` + id + `","txStatus":"MINED","blockHash":"00","blockHeight":7,"merklePath":"fe","extraInfo":null,"competingTxs":null}`, broadcast.StateMined},
		{"no id", `{"txStatus":"MINED"}`, ""},
		{"short id", `{"txid":"abcd","txStatus":"MINED"}`, ""},
		{"no state", `{"txid":"` + id + `"}`, ""},
		{"unknown state", `{"txid":"` + id + `","txStatus":"LOST"}`, ""},
		{"two values", `{"txid":"` + id + `","txStatus":"MINED"}{}`, ""},
		{"a list", `[]`, ""},
		{"null", `null`, ""},
		{"empty", ``, ""},
		{"id of another type", `{"txid":7,"txStatus":"MINED"}`, ""},
	} {
		got, err := broadcast.ReadStatus([]byte(tt.body))
		if (err == nil) != (tt.want != "") || err == nil && got.State != tt.want {
			t.Errorf("%s: got %v, %v, want %q", tt.name, got, err, tt.want)
		}
	}
}
