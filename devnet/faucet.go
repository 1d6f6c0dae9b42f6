package devnet

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/libsv/go-bt/v2"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/signer"
	"github.com/metaim/metaim/signer/broadcast"
)

// MaxCoins is how many coins FundMany makes at most in one transaction.
const MaxCoins = 10_000

const (
	maturity       = 100       // blocks before a coinbase can be spent
	largestPayment = 1_000_000 // bytes of a transaction that bsvd takes
)

// Reasons why the faucet doesn't pay.
var (
	ErrFaucetEmpty = errors.New("the faucet hasn't enough coins that can be spent: mine blocks")
	ErrFunding     = fmt.Errorf("the faucet pays from 1 to %d coins of 1 satoshi or more", MaxCoins)
)

// Fund pays satoshis of the miner's to an address and returns the transaction, as
// on the wire, which is in the node's mempool then. It fails with ErrFunding,
// ErrFaucetEmpty or an error of [broadcast.NodeRPC.Submit].
func (n *Node) Fund(ctx context.Context, to frame.KeyHash, satoshis uint64) ([]byte, error) {
	return n.FundMany(ctx, to, satoshis, 1)
}

// FundMany is Fund with several coins, at most MaxCoins, of so many satoshis each,
// in one transaction.
func (n *Node) FundMany(ctx context.Context, to frame.KeyHash, satoshis uint64, coins int) ([]byte, error) {
	if coins < 1 || coins > MaxCoins || satoshis == 0 {
		return nil, ErrFunding
	}
	request := signer.Request{From: n.key.KeyHash()}
	for range coins {
		request.Pay = append(request.Pay, signer.Output{KeyHash: to, Satoshis: satoshis})
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	raw, err := n.pay(ctx, request)
	if errors.Is(err, broadcast.ErrDoubleSpend) || errors.Is(err, broadcast.ErrMissingInputs) {
		// The chain turned while we counted. Now it is counted again.
		raw, err = n.pay(ctx, request)
	}
	if err != nil {
		return nil, fmt.Errorf("pay from the faucet: %w", err)
	}
	return raw, nil
}

// pay builds a transaction of the miner's coins and submits it. When the node
// doesn't take it, the coins are counted again before the next one.
func (n *Node) pay(ctx context.Context, request signer.Request) ([]byte, error) {
	if err := n.keep(ctx); err != nil {
		return nil, err
	}
	signed, err := n.purse.wallet.Build(request)
	var missing *signer.FundsError
	switch {
	case errors.As(err, &missing):
		return nil, fmt.Errorf("%w (it has %d of %d satoshis)", ErrFaucetEmpty, missing.Have, missing.Need)
	case errors.Is(err, signer.ErrAmount):
		return nil, ErrFunding
	case err != nil:
		return nil, err
	}
	if _, err := n.submit.Submit(ctx, signed.Raw); err != nil {
		n.purse = nil
		return nil, err
	}
	return signed.Raw, n.purse.wallet.Accept(signed.TxID)
}

// A purse is the miner's coins on the best chain up to a height.
type purse struct {
	wallet *signer.Wallet
	height int32
	young  []coinbase // which nobody can spend yet, oldest first
}

type coinbase struct {
	height int32
	raw    []byte
}

// count fills a new purse from the kept chain and the node's mempool.
func (n *Node) count(ctx context.Context) error {
	n.purse = nil
	wallet, err := signer.OpenWallet(ctx, signer.Options{
		Network: frame.Regtest, Keys: []signer.Key{n.key}, MaxSize: largestPayment})
	if err != nil {
		return err
	}
	p := &purse{wallet: wallet}
	if err := n.chain.best(p.block); err != nil {
		return err
	}
	waiting, err := n.rpc.GetRawMempool(ctx)
	if err != nil {
		return err
	}
	for _, txid := range waiting {
		raw, err := n.rpc.GetRawTransaction(ctx, txid)
		if err != nil {
			return err
		}
		if _, err := wallet.Add(raw); err != nil {
			return err
		}
	}
	n.purse = p
	return nil
}

// block counts the next block. bsvd has accepted it, so it is well formed.
func (p *purse) block(height int32, raw []byte) error {
	rest := raw[chainwatch.HeaderSize:]
	count, n := bt.NewVarIntFromBytes(rest)
	rest = rest[n:]
	for i := range uint64(count) {
		_, size, err := bt.NewTxFromStream(rest)
		if err != nil {
			return fmt.Errorf("read transaction %d of block %s: %w", i, blockHash(raw), err)
		}
		tx := rest[:size]
		rest = rest[size:]
		if i == 0 {
			p.young = append(p.young, coinbase{height, bytes.Clone(tx)})
			continue
		}
		if _, err := p.wallet.Add(tx); err != nil {
			return err
		}
	}
	p.height = height
	return p.ripen()
}

// ripen adds the coinbases that the next block may spend.
func (p *purse) ripen() error {
	for len(p.young) > 0 && p.height+1-p.young[0].height >= maturity {
		if _, err := p.wallet.Add(p.young[0].raw); err != nil {
			return err
		}
		p.young = p.young[1:]
	}
	return nil
}
