package broadcast

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/tonicpow/go-minercraft/v2"
	"github.com/tonicpow/go-minercraft/v2/apis/mapi"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/noderpc"
	"github.com/metaim/metaim/signer"
)

// MAPI submits through a Merchant API service, the older of the services that
// miners offer. It uses go-minercraft, whose faults are kept out by what stands
// between it and the network (see Do): mapi_test.go shows each.
type MAPI struct {
	*door
	client minercraft.ClientInterface
	miner  *minercraft.Miner
}

// NewMAPI checks the configuration and returns a client; it connects to nothing.
func NewMAPI(cfg Service) (*MAPI, error) {
	d, err := newDoor(cfg)
	if err != nil {
		return nil, err
	}
	m := &MAPI{door: d, miner: &minercraft.Miner{MinerID: d.host, Name: d.host}}
	api := minercraft.API{Type: minercraft.MAPI, URL: d.base}
	if d.token != "" {
		api.Token = "Bearer " + d.token // it is sent as it stands
	}
	// Both lists must have something in them: else the library asks the miners
	// that it knows itself, and says nothing.
	m.client, err = minercraft.NewClient(minercraft.DefaultClientOptions(), m, minercraft.MAPI,
		[]*minercraft.Miner{m.miner}, []*minercraft.MinerAPIs{{MinerID: m.miner.MinerID, APIs: []minercraft.API{api}}})
	return m, err
}

// Way returns the service as one of several ways.
func (m *MAPI) Way() Way { return Way{Name: "mapi " + m.host, Submit: m.Submit, Fee: m.Fee} }

// An envelope is the form of all answers of mAPI: JSON in a text, which may be
// signed.
type envelope struct {
	Payload   string  `json:"payload"`
	Signature *string `json:"signature,omitempty"`
	PublicKey *string `json:"publicKey,omitempty"`
	Encoding  string  `json:"encoding"`
	MimeType  string  `json:"mimetype"`
}

// Do carries the library's requests. The library reads answers of any length,
// loses the status of one that isn't 200, and panics on a payload without the
// fields that it expects, on a fee that is null and on a key without a signature.
// So it is only given answers that were read whole, are 200, and have the form.
func (m *MAPI) Do(req *http.Request) (*http.Response, error) {
	got, err := m.do(req)
	if err == nil {
		err = m.atFault(got)
	}
	if err != nil {
		return nil, err
	}
	var e envelope
	if got.status != http.StatusOK || json.Unmarshal(got.body, &e) != nil {
		return nil, m.nonsense("HTTP status %d without an envelope", got.status)
	}
	var payload struct {
		Result *string `json:"returnResult"`
		Fees   []*struct {
			Type *string `json:"feeType"`
		} `json:"fees"`
	}
	if json.Unmarshal([]byte(e.Payload), &payload) != nil || payload.Result == nil && payload.Fees == nil {
		return nil, m.nonsense("its payload has neither a result nor fees")
	}
	for _, fee := range payload.Fees {
		if fee == nil {
			return nil, m.nonsense("one of its fees is null")
		}
	}
	if (e.Signature == nil) != (e.PublicKey == nil) {
		return nil, m.nonsense("it has a signature without a key, or a key without a signature")
	}
	body, err := json.Marshal(e) // only what was looked at
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body)), Request: req}, nil
}

// Submit hands a transaction in. It fails with a *Refused or with ErrUnavailable.
func (m *MAPI) Submit(ctx context.Context, tx *Transaction) error {
	return persist(ctx, func() error {
		got, err := m.client.SubmitTransaction(ctx, m.miner, &minercraft.Transaction{RawTx: hex.EncodeToString(tx.Raw)})
		if err != nil {
			return m.failed(err)
		}
		if got == nil || got.Results == nil || !got.Validated { // a wrong signature is no error to the library
			return m.nonsense("it is empty, or its signature is wrong")
		}
		return m.outcome(got.Results, tx.ID)
	})
}

// failed makes sure that an error of the library is one of ours.
func (m *MAPI) failed(err error) error {
	if errors.Is(err, ErrUnavailable) {
		return err
	}
	return m.nonsense("%s", noderpc.Clean(err.Error()))
}

// outcome reads what a miner says of a transaction.
func (m *MAPI) outcome(said *minercraft.UnifiedSubmissionPayload, txid frame.Hash) error {
	if said.TxID != txid.String() && (said.TxID != "" || said.ReturnResult == minercraft.QueryTransactionSuccess) {
		return m.nonsense("it is about another transaction, %q", noderpc.Clean(said.TxID))
	}
	if said.ReturnResult == minercraft.QueryTransactionSuccess {
		return nil
	}
	if said.ReturnResult != minercraft.QueryTransactionFailure {
		return m.nonsense("%q is neither success nor failure", noderpc.Clean(said.ReturnResult))
	}
	err := judge(said.ResultDescription)
	switch {
	case err == nil:
		return nil
	case said.FailureRetryable:
		return fmt.Errorf("%w: %s says that it may take the transaction later: %q", ErrUnavailable, m.host, noderpc.Clean(said.ResultDescription))
	case len(said.ConflictedWith) > 0:
		return &Refused{Reason: ErrDoubleSpend.Error(), Competing: competing(said.ConflictedWith), kind: ErrDoubleSpend}
	}
	return err
}

func competing(list []*mapi.ConflictedWith) (ids []frame.Hash) {
	for _, c := range list[:min(len(list), mostCompeting)] {
		if c == nil {
			continue
		}
		if h, err := frame.ParseHash(c.TxID); err == nil {
			ids = append(ids, h)
		}
	}
	return ids
}

// Fee asks for the fee rate: the higher of those for data and for the rest.
func (m *MAPI) Fee(ctx context.Context) (signer.FeeRate, error) {
	var highest signer.FeeRate
	got, err := m.client.FeeQuote(ctx, m.miner)
	if err != nil {
		return highest, m.failed(err)
	}
	if got == nil || got.Quote == nil || !got.Validated {
		return highest, m.nonsense("it is empty, or its signature is wrong")
	}
	for _, fee := range got.Quote.Fees {
		rate, err := saneFee(int64(fee.MiningFee.Satoshis), int64(fee.MiningFee.Bytes))
		if err != nil {
			return highest, m.nonsense("%v", err)
		}
		if highest.Bytes == 0 || higher(rate, highest) {
			highest = rate
		}
	}
	if highest.Bytes == 0 {
		return highest, m.nonsense("it names no fee")
	}
	return highest, nil
}
