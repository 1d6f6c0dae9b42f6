package junglebus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/metaim/metaim/improtocol/frame"
	rest "github.com/metaim/metaim/internal/junglebus"
)

const (
	headerBytes = 1000    // that a header may take in a list, in JSON
	tokenBytes  = 1 << 16 // of the answer to a request for a token
	proofBytes  = 1 << 20 // of a Merkle path
)

// service is what can be asked over HTTP.
func (s *Source) service() *rest.Service {
	return &rest.Service{URL: s.base.String(), HTTP: s.http, Turns: s.turns, Patience: s.cfg.Patience, Backoff: s.cfg.Backoff}
}

// token gets what lets a connection in: the subscription's id is all it takes.
func (s *Source) token(ctx context.Context) (string, error) {
	question, err := json.Marshal(map[string]string{"id": s.subscription})
	if err != nil {
		return "", err
	}
	answer, err := s.service().Ask(ctx, http.MethodPost, "/user/subscription-token", question, tokenBytes)
	if err != nil {
		return "", fmt.Errorf("a token for subscription %s: %w", s.subscription, explained(err))
	}
	var login struct{ Token string }
	if json.Unmarshal(answer, &login) != nil || login.Token == "" {
		return "", fmt.Errorf("a token for subscription %s: %w", s.subscription, errAnswer)
	}
	return login.Token, nil
}

// explained says what it may be that the service doesn't let us in.
func explained(err error) error {
	var status *rest.StatusError
	if errors.As(err, &status) && (status.Status == http.StatusUnauthorized || status.Status == http.StatusForbidden) {
		return fmt.Errorf("%w: the subscription's id may be wrong", err)
	}
	return err
}

// transaction gets a transaction that was told of without its bytes.
func (s *Source) transaction(ctx context.Context, txid frame.Hash) ([]byte, error) {
	t, err := s.service().Transaction(ctx, txid, 3*int64(s.cfg.MaxTx)+1<<20)
	if err != nil {
		return nil, fmt.Errorf("transaction %s: %w", txid, err)
	}
	return t.Raw, nil
}

// proof gets the Merkle path of a transaction.
func (s *Source) proof(ctx context.Context, txid frame.Hash) (place uint32, path []frame.Hash, err error) {
	answer, err := s.service().Ask(ctx, http.MethodGet, "/transaction/proof/"+txid.String()+"/bin", nil, proofBytes)
	if err == nil {
		place, path, err = readPath(answer, txid)
	}
	if err != nil {
		return 0, nil, fmt.Errorf("the Merkle path of transaction %s: %w", txid, err)
	}
	return place, path, nil
}
