// Package proof makes and checks proofs that a message is in a block: the
// transaction that carries it, its Merkle path, the block's header, and a chain of
// headers that somebody has from wherever they trust.
//
// [Of] makes the proof that a server gives, [Read] and [Verify] check one without
// any server. The package asks no network and no clock. docs/spec/proof.md has the
// format, and says what a proof shows and what it can't.
package proof

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// Reasons why a proof proves nothing. Which part says what it shouldn't is in the
// error's text.
var (
	ErrForm        = errors.New("the proof can't be read")
	ErrTransaction = errors.New("the proof's transaction isn't the one it names")
	ErrPath        = errors.New("the Merkle path doesn't lead from the transaction to the root in the header")
	ErrHeader      = errors.New("the header isn't the one it names")
	ErrChain       = errors.New("the block isn't in the chain of the headers")
	ErrShort       = errors.New("the headers don't reach the block")
	ErrMessage     = errors.New("the output doesn't carry the message")
	ErrSignature   = errors.New("the message isn't signed by its source")
)

// MaxBytes is how large a proof may be as JSON: the transaction stands in it
// twice, in hexadecimal.
const MaxBytes = 4*index.MaxProved + 1<<20

// Of makes the proof of the message that an output carries, from what the index
// keeps. The index must keep the transaction's bytes.
func Of(id frame.ID, output uint32, p *index.Proof) client.Proof {
	txid := frame.HashOf(p.Raw)
	path := BUMP{Height: uint32(max(p.Height, 0)), Index: p.Index, TxID: txid, Path: p.Path}
	bump := path.Append(nil)
	return client.Proof{
		ID: id.String(), TxID: txid.String(), Output: output,
		Raw: hex.EncodeToString(p.Raw), BUMP: hex.EncodeToString(bump), BEEF: hex.EncodeToString(AppendBEEF(nil, p.Raw, bump)),
		Block: client.ProofBlock{Height: p.Height, Hash: p.Block.String(), Header: hex.EncodeToString(p.Header[:])},
	}
}

// Read reads a proof as a server writes it: JSON, with nothing in it that isn't
// known, and nothing behind it. It fails with ErrForm or what the reader fails
// with.
func Read(r io.Reader) (*client.Proof, error) {
	text, err := io.ReadAll(io.LimitReader(r, MaxBytes+1))
	if err != nil {
		return nil, err
	}
	if len(text) > MaxBytes {
		return nil, fmt.Errorf("%w: over %d bytes", ErrForm, MaxBytes)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	p := &client.Proof{}
	if err := d.Decode(p); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForm, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: something follows it", ErrForm)
	}
	return p, nil
}

// parts are what a proof says, read.
type parts struct {
	raw    []byte
	bump   *BUMP
	header chainwatch.Header
}

// fromHex reads lower-case hexadecimal: a proof is written in one way only.
func fromHex(what, text string, most int) ([]byte, error) {
	if len(text) > 2*most {
		return nil, fmt.Errorf("%w: %s has over %d bytes", ErrForm, what, most)
	}
	b, err := hex.DecodeString(text)
	if err != nil || hex.EncodeToString(b) != text {
		return nil, fmt.Errorf("%w: %s isn't lower-case hexadecimal", ErrForm, what)
	}
	return b, nil
}

func split(p *client.Proof) (*parts, error) {
	const mostBUMP = 64 << 10
	raw, err := fromHex("raw", p.Raw, index.MaxProved)
	if err != nil {
		return nil, err
	}
	bump, err := fromHex("bump", p.BUMP, mostBUMP)
	if err != nil {
		return nil, err
	}
	beef, err := fromHex("beef", p.BEEF, index.MaxProved+2*mostBUMP)
	if err != nil {
		return nil, err
	}
	header, err := fromHex("header", p.Block.Header, chainwatch.HeaderSize)
	if err != nil {
		return nil, err
	}
	if len(header) != chainwatch.HeaderSize {
		return nil, fmt.Errorf("%w: the header has %d bytes, not %d", ErrForm, len(header), chainwatch.HeaderSize)
	}
	path, err := ReadBUMP(bump)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForm, err)
	}
	if !bytes.Equal(beef, AppendBEEF(nil, raw, bump)) {
		return nil, fmt.Errorf("%w: beef isn't raw and bump together", ErrForm)
	}
	return &parts{raw, path, chainwatch.Header(header)}, nil
}

// Verify checks a proof against headers and says what it shows. It trusts nothing
// but the headers' place in the world: that they are of the chain with the most
// work is for whoever brings them to know. It fails with one of the errors above.
func Verify(p *client.Proof, headers *Headers) (*Result, error) {
	parts, err := split(p)
	if err != nil {
		return nil, err
	}
	txid := frame.HashOf(parts.raw)
	if txid.String() != p.TxID {
		return nil, fmt.Errorf("%w: its id is %s", ErrTransaction, txid)
	}
	if err := parts.inBlock(p, txid); err != nil {
		return nil, err
	}
	if err := parts.inChain(p.Block.Height, headers); err != nil {
		return nil, err
	}
	// What stands in the output is read last: by now it was worth somebody's work.
	m, err := readMessage(parts.raw, p.Output, headers.Network())
	if err != nil {
		return nil, err
	}
	if id := m.FrameID().String(); id != p.ID {
		return nil, fmt.Errorf("%w: it carries %s", ErrMessage, id)
	}
	key, err := m.signer()
	if err != nil {
		return nil, err
	}
	return m.result(p, parts, headers, key), nil
}

// inBlock checks the way from the transaction to the header.
func (s *parts) inBlock(p *client.Proof, txid frame.Hash) error {
	hash := s.header.Hash()
	switch {
	case hash.String() != p.Block.Hash:
		return fmt.Errorf("%w: its hash is %s", ErrHeader, hash)
	case p.Block.Height < 0 || uint32(p.Block.Height) != s.bump.Height || p.Block.Height == math.MaxInt32:
		return fmt.Errorf("%w: the path says height %d, the proof %d", ErrForm, s.bump.Height, p.Block.Height)
	case s.bump.TxID != txid:
		return fmt.Errorf("%w: it begins at %s", ErrPath, s.bump.TxID)
	case index.FoldPath(txid, s.bump.Index, s.bump.Path) != s.header.MerkleRoot():
		return ErrPath
	}
	return nil
}

func (s *parts) inChain(height int32, headers *Headers) error {
	known, ok := headers.At(height)
	switch {
	case !ok && height > headers.Tip():
		return fmt.Errorf("%w: it has height %d, and they end with %d: fetch newer ones", ErrShort, height, headers.Tip())
	case !ok:
		return fmt.Errorf("%w: it has height %d, and they begin with %d", ErrShort, height, headers.From())
	case known != s.header:
		return fmt.Errorf("%w: at height %d that has %s. After a reorganisation the message may be in another block: fetch the proof again", ErrChain, height, known.Hash())
	}
	return nil
}
