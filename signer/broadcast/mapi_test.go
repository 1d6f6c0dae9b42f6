package broadcast_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tonicpow/go-minercraft/v2"

	"github.com/metaim/metaim/internal/testarc"
	"github.com/metaim/metaim/signer"
	"github.com/metaim/metaim/signer/broadcast"
)

func mapiOf(t *testing.T, s *testarc.Server, token string) *broadcast.MAPI {
	t.Helper()
	m, err := broadcast.NewMAPI(broadcast.Service{URL: s.URL(), Token: token, Timeout: 500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// envelopeOf is an unsigned answer of mAPI.
func envelopeOf(payload string) string {
	b, err := json.Marshal(map[string]string{"payload": payload, "encoding": "UTF-8", "mimetype": "application/json"})
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestMAPIOutcomes(t *testing.T) {
	tx := sample(t)
	id := tx.ID.String()
	unavailable := broadcast.ErrUnavailable
	says := func(format string, args ...any) testarc.Behaviour {
		return testarc.Behaviour{Raw: envelopeOf(fmt.Sprintf(format, args...))}
	}
	for _, tt := range []struct {
		name string
		does testarc.Behaviour
		want error
	}{
		{"accepted", testarc.Behaviour{}, nil},
		{"unsigned", says(`{"returnResult":"success","txid":%q}`, id), nil},
		{"known", says(`{"returnResult":"failure","resultDescription":"257: txn-already-known","txid":%q}`, id), nil},
		{"conflict", testarc.Behaviour{State: broadcast.StateDoubleSpend, Competing: []string{competing}}, broadcast.ErrDoubleSpend},
		{"conflict in a field only", says(`{"returnResult":"failure","txid":%q,"conflictedWith":[null,{"txid":%q}]}`, id, competing), broadcast.ErrDoubleSpend},
		{"missing inputs", says(`{"returnResult":"failure","resultDescription":"Missing inputs","txid":%q}`, id), broadcast.ErrMissingInputs},
		{"refused", says(`{"returnResult":"failure","resultDescription":"dust","txid":%q}`, id), errAny},
		{"refused, try later", says(`{"returnResult":"failure","resultDescription":"too-long-mempool-chain","failureRetryable":true,"txid":%q}`, id), unavailable},
		{"safe mode", says(`{"returnResult":"failure","resultDescription":"Safe mode: Warning","txid":%q}`, id), broadcast.ErrSafeMode},
		{"another transaction", testarc.Behaviour{Fault: testarc.WrongTxID}, unavailable},
		{"no id", says(`{"returnResult":"success"}`), unavailable},
		{"neither success nor failure", says(`{"returnResult":"perhaps","txid":%q}`, id), unavailable},
		{"wrong signature", testarc.Behaviour{Raw: `{"payload":"{\"returnResult\":\"success\",\"txid\":\"` + id + `\"}","mimetype":"x",` + signatureOfAnother + `}`}, unavailable},
		{"key without a signature", testarc.Behaviour{Raw: `{"payload":"{\"returnResult\":\"success\"}","publicKey":"02"}`}, unavailable},
		{"payload of other fields", says(`{"apiVersion":"1"}`), unavailable},
		{"payload null", says(`null`), unavailable},
		{"null", testarc.Behaviour{Raw: `null`}, unavailable},
		{"empty", testarc.Behaviour{Raw: ` `}, unavailable},
		{"401", testarc.Behaviour{Status: 401}, broadcast.ErrUnauthorized},
		{"429, then right", testarc.Behaviour{Status: 429, Busy: 2}, nil},
		{"500", testarc.Behaviour{Status: 500}, unavailable},
		{"503", testarc.Behaviour{Status: 503, RetryAfter: "3600"}, unavailable},
		{"down", testarc.Behaviour{Fault: testarc.Down}, unavailable},
		{"slow", testarc.Behaviour{Fault: testarc.Slow}, unavailable},
		{"10 MB", testarc.Behaviour{Fault: testarc.Big}, unavailable},
		{"a page", testarc.Behaviour{Fault: testarc.HTML}, unavailable},
		{"a page as a refusal", testarc.Behaviour{Fault: testarc.Forbidding}, unavailable},
		{"redirect", testarc.Behaviour{Fault: testarc.Redirect}, unavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := testarc.New(t, nil)
			s.Behave(tt.does)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			checkOutcome(t, mapiOf(t, s, "").Submit(ctx, tx), tt.want)
		})
	}
}

// signatureOfAnother is well formed: of another text.
const signatureOfAnother = `"signature":"304402206443bea5bdd98a16e23eb61c36b4b998bd68ceb9c84983c7e695e267b21a30440220191571e9b9632c8337d9196723ca20eefa63966ef6360170db0e57a04047453f","publicKey":"0211ccfc29e3058b770f3cf3eb34b0b2fd2293057a994d4d275121be4151cdf087"`

// TestMinercraftFaults shows what the library does by itself, beside what we get.
// A case that fails says that the library has changed: then its guard can go.
func TestMinercraftFaults(t *testing.T) {
	tx := sample(t)
	// bare is the library as its manual says, in front of one miner.
	bare := func(t *testing.T, kind minercraft.APIType, url, token string) (minercraft.ClientInterface, *minercraft.Miner) {
		miner := &minercraft.Miner{MinerID: "m", Name: "m"}
		options := minercraft.DefaultClientOptions()
		options.RequestRetryCount = 0
		c, err := minercraft.NewClient(options, nil, kind, []*minercraft.Miner{miner},
			[]*minercraft.MinerAPIs{{MinerID: "m", APIs: []minercraft.API{{Type: kind, URL: url, Token: token}}}})
		if err != nil {
			t.Fatal(err)
		}
		return c, miner
	}
	submit := func(t *testing.T, kind minercraft.APIType, s *testarc.Server) (got *minercraft.SubmitTransactionResponse, panicked any, err error) {
		c, miner := bare(t, kind, s.URL(), "")
		defer func() { panicked = recover() }()
		got, err = c.SubmitTransaction(t.Context(), miner, &minercraft.Transaction{RawTx: "00"})
		return got, nil, err
	}
	server := func(t *testing.T, b testarc.Behaviour) *testarc.Server {
		s := testarc.New(t, nil)
		s.Behave(b)
		return s
	}

	t.Run("miners without their addresses are replaced by those that it knows", func(t *testing.T) {
		c, err := minercraft.NewClient(nil, nil, minercraft.MAPI, []*minercraft.Miner{{Name: "ours", MinerID: "ours"}}, nil)
		if err != nil || c.MinerByName("ours") != nil || len(c.Miners()) == 0 {
			t.Errorf("got %v, %v, want the miners that are built in", c.Miners(), err)
		}
	})
	t.Run("the token is sent as it stands", func(t *testing.T) {
		s := server(t, testarc.Behaviour{})
		c, miner := bare(t, minercraft.MAPI, s.URL(), "secret")
		if _, err := c.FeeQuote(t.Context(), miner); err != nil {
			t.Fatal(err)
		}
		if err := mapiOf(t, s, "secret").Submit(t.Context(), tx); err != nil {
			t.Fatal(err)
		}
		asked := s.Asked("")
		if lib, ours := asked[0].Header.Get("Authorization"), asked[1].Header.Get("Authorization"); lib != "secret" || ours != "Bearer secret" {
			t.Errorf("got %q and with our guard %q, want %q and %q", lib, ours, "secret", "Bearer secret")
		}
	})
	t.Run("null gives neither an answer nor an error", func(t *testing.T) {
		if got, _, err := submit(t, minercraft.MAPI, server(t, testarc.Behaviour{Raw: `{}`})); got != nil || err != nil {
			t.Errorf("got %v, %v, want nothing", got, err)
		}
	})
	for name, raw := range map[string]string{
		"a payload of other fields panics":      envelopeOf(`{"other":1}`),
		"a key without a signature panics":      `{"payload":"{\"returnResult\":\"success\"}","publicKey":"0211ccfc29e3058b770f3cf3eb34b0b2fd2293057a994d4d275121be4151cdf087"}`,
		"a signature of something else is fine": `{"payload":"{\"returnResult\":\"success\"}","mimetype":"x",` + signatureOfAnother + `}`,
	} {
		t.Run(name, func(t *testing.T) {
			got, panicked, err := submit(t, minercraft.MAPI, server(t, testarc.Behaviour{Raw: raw}))
			if wants := strings.HasSuffix(name, "panics"); (panicked != nil) != wants || !wants && (err != nil || got.Validated) {
				t.Errorf("got %v, %v, panic %v", got, err, panicked)
			}
		})
	}
	t.Run("a fee that is null panics", func(t *testing.T) {
		s := server(t, testarc.Behaviour{Raw: envelopeOf(`{"fees":[null]}`)})
		c, miner := bare(t, minercraft.MAPI, s.URL(), "")
		func() {
			defer func() {
				if recover() == nil {
					t.Error("got no panic")
				}
			}()
			_, _ = c.FeeQuote(t.Context(), miner)
		}()
		if _, err := mapiOf(t, s, "").Fee(t.Context()); !errors.Is(err, broadcast.ErrUnavailable) {
			t.Errorf("with our guard: got %v, want %v", err, broadcast.ErrUnavailable)
		}
	})
	t.Run("an answer may have any length", func(t *testing.T) {
		s := server(t, testarc.Behaviour{Fault: testarc.Big})
		if _, _, err := submit(t, minercraft.MAPI, s); err != nil {
			t.Errorf("got %v, want no error: it reads 10 MB", err)
		}
	})
	t.Run("ARC: a double spend is a success", func(t *testing.T) {
		got, err := arcByLibrary(t, 200, `{"txid":"`+competing+`","txStatus":"DOUBLE_SPEND_ATTEMPTED","competingTxs":["`+competing+`"]}`)
		if err != nil || !got.Validated {
			t.Errorf("got %v, %v, want a valid answer without an error", got, err)
		}
	})
	t.Run("ARC: 202 is an error", func(t *testing.T) {
		if _, err := arcByLibrary(t, 202, `{"txid":"`+competing+`","txStatus":"RECEIVED"}`); err == nil {
			t.Error("got no error")
		}
	})
	t.Run("ARC: the policy has a fee of nothing", func(t *testing.T) {
		s := server(t, testarc.Behaviour{})
		c, miner := bare(t, minercraft.Arc, s.URL(), "")
		got, err := c.PolicyQuote(t.Context(), miner)
		if err == nil && got.Quote != nil && len(got.Quote.Fees) > 0 && got.Quote.Fees[0] != nil && got.Quote.Fees[0].MiningFee.Bytes > 0 {
			t.Errorf("got a fee of %v: the library can be used for it", got.Quote.Fees[0])
		}
		if ours, err := arcOf(t, s, nil).Fee(t.Context()); err != nil || ours != signer.DefaultFeeRate {
			t.Errorf("our client: got %v, %v, want %v", ours, err, signer.DefaultFeeRate)
		}
	})
}

// fixed answers everything alike.
type fixed struct {
	status int
	body   string
}

func (f fixed) Do(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	rec.WriteHeader(f.status)
	_, _ = io.Copy(rec, bytes.NewReader([]byte(f.body)))
	resp := rec.Result()
	resp.Request = r
	return resp, nil
}

func arcByLibrary(t *testing.T, status int, body string) (*minercraft.SubmitTransactionResponse, error) {
	t.Helper()
	miner := &minercraft.Miner{MinerID: "m", Name: "m"}
	c, err := minercraft.NewClient(nil, fixed{status, body}, minercraft.Arc, []*minercraft.Miner{miner},
		[]*minercraft.MinerAPIs{{MinerID: "m", APIs: []minercraft.API{{Type: minercraft.Arc, URL: "http://127.0.0.1"}}}})
	if err != nil {
		t.Fatal(err)
	}
	return c.SubmitTransaction(t.Context(), miner, &minercraft.Transaction{RawTx: "00"})
}
