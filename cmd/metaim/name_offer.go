package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/nprotocol"
)

const (
	offerFormat  = "metaim name transfer"
	offerVersion = 1
	maxOffer     = 64 << 10       // bytes of a file
	maxAhead     = 24 * time.Hour // that a time stamp may be before its time
	signedBytes  = 88             // of a signature as text
	offerIndent  = "  "           // as it is written
)

// An offer is a transfer of a name on its way between those who sign it: a file
// that people can read. docs/spec/nprotocol.md, "Transfer files".
type offer struct {
	Format     string `json:"format"`
	Version    int    `json:"version"`
	Network    string `json:"network"`
	Name       string `json:"name"`
	From       string `json:"from"` // address that holds the name
	To         string `json:"to"`   // address that gets it
	Other      string `json:"other"`
	TimeStamp  string `json:"time_stamp"` // Unix milliseconds, under both signatures
	SignedFrom string `json:"signature_from"`
	SignedTo   string `json:"signature_to"` // empty until the heir has signed
}

// errOffer says that a file is no transfer that can be used.
var errOffer = errors.New("not a transfer of a name that can be used")

// newOffer writes a record, signed by its holder or by both, as an offer.
func newOffer(r *nprotocol.Record, network frame.Network) offer {
	o := offer{Format: offerFormat, Version: offerVersion, Network: string(network), Name: r.Name,
		From: network.Address(r.Address), To: network.Address(r.NewAddress), Other: r.Other, TimeStamp: r.TimeStamp,
		SignedFrom: string(r.Signatures[0])}
	if len(r.Signatures) > 1 {
		o.SignedTo = string(r.Signatures[1])
	}
	return o
}

// text writes the offer as it stands in a file.
func (o offer) text() (string, error) {
	compact, err := o.compact()
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, compact, "", offerIndent); err != nil {
		return "", err
	}
	return b.String() + "\n", nil
}

func (o offer) compact() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(o)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// readOffer reads a file; "-" is standard input.
func readOffer(p *program, path string, network frame.Network) (*nprotocol.Record, error) {
	in := p.in
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxOffer+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxOffer {
		return nil, fmt.Errorf("%s: %w: it is larger than %s", path, errOffer, size(maxOffer))
	}
	r, err := parseOffer(text, network, time.Now())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// parseOffer reads an offer and checks all that can be checked without a server.
// It returns the record with one signature or with both, each of which holds. It
// fails with errOffer. Only what this program would write is read, but for spaces
// and line breaks: no field twice, none left out, no other.
func parseOffer(text []byte, network frame.Network, now time.Time) (*nprotocol.Record, error) {
	var o offer
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&o); err != nil {
		return nil, refuseOffer("it isn't the JSON of one")
	}
	var got bytes.Buffer
	if err := json.Compact(&got, text); err != nil {
		return nil, refuseOffer("something follows its JSON")
	}
	switch want, err := o.compact(); {
	case err != nil:
		return nil, err
	case o.Format != offerFormat:
		return nil, refuseOffer("its format is %q, not %q", o.Format, offerFormat)
	case o.Version != offerVersion:
		return nil, refuseOffer("its version is %d, and this program reads %d", o.Version, offerVersion)
	case !bytes.Equal(got.Bytes(), want):
		return nil, refuseOffer("its fields aren't those of one, each once and in their order")
	case o.Network != string(network):
		return nil, refuseOffer("it is of network %q, not %q", o.Network, network)
	}
	return o.record(network, now)
}

func refuseOffer(format string, args ...any) error {
	return fmt.Errorf("%w: %w", errOffer, fmt.Errorf(format, args...))
}

// record checks the fields and the signatures.
func (o offer) record(network frame.Network, now time.Time) (*nprotocol.Record, error) {
	r := &nprotocol.Record{Protocol: frame.N, Operation: nprotocol.Transfer, Name: o.Name, Other: o.Other, TimeStamp: o.TimeStamp}
	if err := nprotocol.CheckName(o.Name); err != nil {
		return nil, refuseOffer("%w", err)
	}
	var err error
	if r.Address, err = network.ParseAddress(o.From); err != nil {
		return nil, refuseOffer("from: %w", err)
	}
	if r.NewAddress, err = network.ParseAddress(o.To); err != nil {
		return nil, refuseOffer("to: %w", err)
	}
	stamp, err := r.Time()
	switch {
	case err != nil:
		return nil, refuseOffer("time stamp: %w", err)
	case r.Address == r.NewAddress:
		return nil, refuseOffer("%w", nprotocol.ErrSelf)
	case stamp > uint64(now.Add(maxAhead).UnixMilli()):
		return nil, refuseOffer("its time stamp %s is over a day ahead", o.TimeStamp)
	}
	if err := o.signed(r, network, 0, o.SignedFrom); err != nil {
		return nil, err
	}
	if o.SignedTo != "" {
		if err := o.signed(r, network, 1, o.SignedTo); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// signed checks one signature and adds it to the record.
func (o offer) signed(r *nprotocol.Record, network frame.Network, i int, signature string) error {
	by := r.Signers()[i]
	if len(signature) != signedBytes {
		return refuseOffer("the signature of %s is no text of %d letters", network.Address(by), signedBytes)
	}
	preimage := r.Preimage(network)
	_, verdict := frame.Prove(preimage, []byte(signature)).Check(preimage, by, slices.Values([][]byte(nil)))
	if verdict != frame.Valid {
		return refuseOffer("a signature isn't by %s over what the file says", network.Address(by))
	}
	r.Signatures = append(r.Signatures, []byte(signature))
	return nil
}
