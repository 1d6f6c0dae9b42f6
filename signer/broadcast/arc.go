package broadcast

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/noderpc"
	"github.com/metaim/metaim/signer"
)

// An ARCConfig says how ARC or Arcade is used.
type ARCConfig struct {
	Service
	// Arcade says that it is Arcade: no /v1 in its paths, 202 for what it took,
	// extended format only.
	Arcade bool
	// CallbackURL is told what becomes of transactions, with CallbackToken as
	// bearer token; empty: it is asked only.
	CallbackURL, CallbackToken string
	// WaitFor is the state for which a submission waits, a few seconds at most;
	// empty is StateSeen.
	WaitFor State
	// Settle is how long a transaction that the service keeps is asked about until
	// it counts as undecided; 0 is 10 seconds.
	Settle time.Duration
}

// ARC submits through an ARC service or its successor Arcade.
type ARC struct {
	*door
	cfg ARCConfig
}

// NewARC checks the configuration and returns a client; it connects to nothing.
func NewARC(cfg ARCConfig) (*ARC, error) {
	d, err := newDoor(cfg.Service)
	if err != nil {
		return nil, err
	}
	if cfg.WaitFor == "" {
		cfg.WaitFor = StateSeen
	}
	if cfg.Settle <= 0 {
		cfg.Settle = 10 * time.Second
	}
	return &ARC{d, cfg}, nil
}

// Way returns the service as one of several ways.
func (a *ARC) Way() Way {
	kind := "arc"
	if a.cfg.Arcade {
		kind = "arcade"
	}
	return Way{Name: kind + " " + a.host, Submit: a.Submit, Status: a.Status, Fee: a.Fee, Extended: true}
}

func (a *ARC) path(tail string) string {
	if a.cfg.Arcade {
		return tail
	}
	return "/v1" + tail
}

// header returns the headers of a submission.
func (a *ARC) header(kind string) http.Header {
	h := http.Header{"Content-Type": {kind}, "X-Waitfor": {string(a.cfg.WaitFor)},
		"X-Maxtimeout": {strconv.Itoa(max(1, int(a.timeout/time.Second)/3))}}
	if a.cfg.CallbackURL != "" {
		h.Set("X-CallbackUrl", a.cfg.CallbackURL)
		h.Set("X-CallbackToken", a.cfg.CallbackToken)
	}
	return h
}

// form returns the form in which the service gets a transaction. Arcade takes only
// the extended one; ARC prefers it, and else asks its nodes for what is missing.
func (a *ARC) form(tx *Transaction) ([]byte, error) {
	switch {
	case tx.Extended != nil:
		return tx.Extended, nil
	case a.cfg.Arcade:
		return nil, &Refused{Reason: ErrNeedsExtended.Error(), kind: ErrNeedsExtended}
	}
	return tx.Raw, nil
}

// Submit hands a transaction in. What the service keeps without having seen it on
// the network is asked about for a while; nil says that the network has it. It
// fails with a *Refused or with ErrUnavailable.
func (a *ARC) Submit(ctx context.Context, tx *Transaction) error {
	body, err := a.form(tx)
	if err != nil {
		return err
	}
	err = persist(ctx, func() error {
		got, err := a.ask(ctx, http.MethodPost, a.path("/tx"), a.header("application/octet-stream"), body)
		if err != nil {
			return err
		}
		return a.outcome(got, tx.ID)
	})
	if errors.Is(err, ErrHeld) || errors.Is(err, ErrOrphan) {
		return a.settle(ctx, tx.ID, err)
	}
	return err
}

// settle asks about a transaction that the service keeps.
func (a *ARC) settle(ctx context.Context, txid frame.Hash, err error) error {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Settle)
	defer cancel()
	for wait := firstWait; ; wait = min(2*wait, time.Second) {
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
		status, failed := a.Status(ctx, txid)
		if failed != nil {
			continue
		}
		if err = status.outcome(); !errors.Is(err, ErrHeld) && !errors.Is(err, ErrOrphan) {
			return err
		}
	}
}

// outcome reads the answer to a submission.
func (a *ARC) outcome(got *answer, txid frame.Hash) error {
	if err := a.atFault(got); err != nil {
		return err
	}
	var said statusAnswer
	if err := json.Unmarshal(got.body, &said); err != nil {
		return a.nonsense("HTTP status %d without a JSON object", got.status)
	}
	if got.status == http.StatusOK || got.status == http.StatusAccepted {
		return a.decided(&said, txid)
	}
	return a.refused(got.status, &said, txid)
}

func (a *ARC) decided(said *statusAnswer, txid frame.Hash) error {
	status, err := said.read()
	switch {
	case err != nil:
		return a.nonsense("%v", err)
	case status.TxID != txid:
		return a.nonsense("it is about another transaction, %s", status.TxID)
	}
	return status.outcome()
}

// Statuses beyond those of HTTP with which ARC refuses a transaction.
const (
	statusNotExtended    = 460
	statusInputs         = 462
	statusFees           = 465
	statusConflict       = 466
	statusCumulativeFees = 473
	firstStatus          = 460
	lastStatus           = 475
)

// refused reads an error of ARC. It is believed only in ARC's own form, which says
// its status again: a page that a proxy makes up is no verdict.
func (a *ARC) refused(status int, said *statusAnswer, txid frame.Hash) error {
	own := status == http.StatusBadRequest || status == http.StatusUnprocessableEntity || status >= firstStatus && status <= lastStatus
	if !own || said.Status != status {
		return fmt.Errorf("%w: %s answers with HTTP status %d: %q", ErrUnavailable, a.host, status, noderpc.Clean(said.words()))
	}
	if said.TxID != "" && said.TxID != txid.String() {
		return a.nonsense("it is about another transaction, %q", noderpc.Clean(said.TxID))
	}
	switch status {
	case statusNotExtended:
		return &Refused{Reason: ErrNeedsExtended.Error(), kind: ErrNeedsExtended}
	case statusFees, statusCumulativeFees:
		return &Refused{Reason: fmt.Sprintf("%v: the service says %q", ErrFeeTooLow, noderpc.Clean(said.words())), kind: ErrFeeTooLow}
	case statusConflict:
		r := &Refused{Reason: ErrDoubleSpend.Error(), kind: ErrDoubleSpend}
		if s, err := (&statusAnswer{TxID: txid.String(), State: string(StateDoubleSpend), Competing: said.Competing}).read(); err == nil {
			r.Competing = s.Competing
		}
		return r
	}
	return judge(said.words())
}

// words returns the most telling of an error's texts.
func (a *statusAnswer) words() string {
	for _, text := range []string{a.Info, a.Detail, a.Title} {
		if strings.TrimSpace(text) != "" {
			return text
		}
	}
	return ""
}

// SubmitMany hands several transactions in with one request, parents before their
// children. The outcomes are in the order of the transactions, each as Submit's;
// those that the service keeps are not asked about again. It fails with
// ErrUnavailable when nothing was decided about any.
func (a *ARC) SubmitMany(ctx context.Context, txs []*Transaction) ([]error, error) {
	outcomes := make([]error, len(txs))
	type item struct {
		Raw string `json:"rawTx"`
	}
	var items []item
	places := map[string]int{} // of txs, by id
	for i, tx := range txs {
		body, err := a.form(tx)
		if err != nil {
			outcomes[i] = err
			continue
		}
		outcomes[i] = a.nonsense("it says nothing about this transaction")
		places[tx.ID.String()] = i
		items = append(items, item{hex.EncodeToString(body)})
	}
	if len(items) == 0 {
		return outcomes, nil
	}
	body, err := json.Marshal(items)
	if err != nil {
		return nil, err
	}
	var got *answer
	err = persist(ctx, func() (err error) {
		if got, err = a.ask(ctx, http.MethodPost, a.path("/txs"), a.header("application/json"), body); err == nil {
			err = a.atFault(got)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var said []statusAnswer
	if err := json.Unmarshal(got.body, &said); err != nil {
		return nil, a.nonsense("HTTP status %d without a list", got.status)
	}
	for i := range said {
		place, ours := places[said[i].TxID]
		switch {
		case !ours:
		case said[i].State == "" && said[i].Status != 0:
			outcomes[place] = a.refused(said[i].Status, &said[i], txs[place].ID)
		default:
			outcomes[place] = a.decided(&said[i], txs[place].ID)
		}
	}
	return outcomes, nil
}

// Status asks what became of a transaction. It fails with ErrUnknown or
// ErrUnavailable.
func (a *ARC) Status(ctx context.Context, txid frame.Hash) (*Status, error) {
	got, err := a.ask(ctx, http.MethodGet, a.path("/tx/"+txid.String()), nil, nil)
	if err != nil {
		return nil, err
	}
	var said statusAnswer
	isJSON := json.Unmarshal(got.body, &said) == nil
	if got.status == http.StatusNotFound && isJSON {
		return nil, ErrUnknown
	}
	if err := a.atFault(got); err != nil {
		return nil, err
	}
	if got.status != http.StatusOK && got.status != http.StatusAccepted || !isJSON {
		return nil, a.nonsense("HTTP status %d to a question about a transaction", got.status)
	}
	status, err := said.read()
	if err != nil {
		return nil, a.nonsense("%v", err)
	}
	if status.TxID != txid {
		return nil, a.nonsense("it is about another transaction, %s", status.TxID)
	}
	return status, nil
}

// A Policy is what a service takes.
type Policy struct {
	Fee                signer.FeeRate
	MaxTransactionSize uint64 // bytes; 0: not said
}

// Policy asks for the policy. A fee that no service can mean is ErrUnavailable.
func (a *ARC) Policy(ctx context.Context) (*Policy, error) {
	got, err := a.ask(ctx, http.MethodGet, a.path("/policy"), nil, nil)
	if err != nil {
		return nil, err
	}
	if err := a.atFault(got); err != nil {
		return nil, err
	}
	var said struct {
		Policy *struct {
			MaxTransactionSize uint64 `json:"maxtxsizepolicy"`
			Fee                *struct {
				Satoshis int64 `json:"satoshis"`
				Bytes    int64 `json:"bytes"`
			} `json:"miningFee"`
		} `json:"policy"`
	}
	if got.status != http.StatusOK || json.Unmarshal(got.body, &said) != nil || said.Policy == nil || said.Policy.Fee == nil {
		return nil, a.nonsense("HTTP status %d without a policy", got.status)
	}
	fee, err := saneFee(said.Policy.Fee.Satoshis, said.Policy.Fee.Bytes)
	if err != nil {
		return nil, a.nonsense("%v", err)
	}
	return &Policy{Fee: fee, MaxTransactionSize: said.Policy.MaxTransactionSize}, nil
}

// Fee asks for the fee rate of the policy.
func (a *ARC) Fee(ctx context.Context) (signer.FeeRate, error) {
	p, err := a.Policy(ctx)
	if err != nil {
		return signer.FeeRate{}, err
	}
	return p.Fee, nil
}
