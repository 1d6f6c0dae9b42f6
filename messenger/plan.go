package messenger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/improtocol/seal"
	"github.com/metaim/metaim/signer"
)

// A plan fixes the frames of a draft. With the draft and the key it gives the
// same frames whenever it is asked, so that what was begun by one process is
// finished by another and doubles nothing.
type plan struct {
	Source     string   `json:"source"`
	From       string   `json:"from"` // address that signs
	Encryption string   `json:"encryption"`
	PartBytes  int      `json:"part_bytes"` // most bytes of a message field
	TimeStamp  uint64   `json:"time_stamp"` // of the first frame, Unix milliseconds; each next one has one more
	Letters    []letter `json:"letters"`
}

// A letter is what goes to one group of recipients: all of them, or one each.
type letter struct {
	To   []string `json:"to"`             // addresses
	Body []byte   `json:"body,omitempty"` // encrypted; the draft's own when plain
}

// maxPlan is the most bytes of the letters of one plan.
const maxPlan = 192 << 20

// frames counts the frames of the whole plan.
func (p *plan) frames(d *Draft) (n int) {
	for i := range p.Letters {
		n += p.parts(d, i)
	}
	return n
}

func (p *plan) body(d *Draft, i int) []byte {
	if p.Encryption == improtocol.Plain {
		return d.Body
	}
	return p.Letters[i].Body
}

// parts counts the frames of one letter.
func (p *plan) parts(d *Draft, i int) int {
	return max(1, (len(p.body(d, i))+p.PartBytes-1)/p.PartBytes)
}

// bytes adds up the message fields of all letters.
func (p *plan) bytes(d *Draft) (n int64) {
	for i := range p.Letters {
		n += int64(len(p.body(d, i)))
	}
	return n
}

// check refuses a plan that was read from a file and can't be one.
func (p *plan) check(d *Draft) error {
	switch {
	case p.PartBytes < 1, len(p.Letters) == 0, p.From == "", p.Source == "":
		return errors.New("the plan of a message is not whole")
	}
	for i := range p.Letters {
		if p.parts(d, i) > MaxParts || len(p.Letters[i].To) == 0 {
			return errors.New("the plan of a message is not whole")
		}
	}
	return p.checkFrames(d)
}

// maxFrames is the most messages that one draft may take.
const maxFrames = 50_000

func (p *plan) checkFrames(d *Draft) error {
	if n := p.frames(d); n > maxFrames {
		return fmt.Errorf("it takes %d messages to all recipients together, and %d is the most", n, maxFrames)
	}
	return nil
}

// frame returns the k-th frame of the plan, not signed, and the addresses that it
// goes to. docs/spec/improtocol.md, "Parts".
func (p *plan) frame(d *Draft, k int) (*improtocol.Message, []string) {
	i, first := 0, 0 // the letter, and the number of its first frame
	for first+p.parts(d, i) <= k {
		first += p.parts(d, i)
		i++
	}
	n := p.parts(d, i)
	of := ""
	if k > first {
		of = p.part(d, i, first, 1, n, "").FrameID().String()
	}
	return p.part(d, i, k, k-first+1, n, of), p.Letters[i].To
}

func (p *plan) part(d *Draft, i, k, part, of int, first string) *improtocol.Message {
	body := p.body(d, i)
	from := min((part-1)*p.PartBytes, len(body))
	m := &improtocol.Message{Source: p.Source, Type: d.Type, Encryption: p.Encryption, Body: body[from:min(from+p.PartBytes, len(body))]}
	other := improtocol.Other{{Key: improtocol.OtherTo, Value: strings.Join(p.Letters[i].To, ",")}}
	if d.Re != "" && part == 1 {
		other = append(other, improtocol.Pair{Key: improtocol.OtherRe, Value: d.Re})
	}
	if d.FileName != "" && part == 1 {
		other = append(other, improtocol.Pair{Key: improtocol.OtherName, Value: d.FileName})
	}
	if of > 1 {
		other = append(other, improtocol.Pair{Key: improtocol.OtherPart, Value: strconv.Itoa(part) + "/" + strconv.Itoa(of)})
	}
	if first != "" {
		other = append(other, improtocol.Pair{Key: improtocol.OtherOf, Value: first})
	}
	m.Other = other.String()
	m.SetTime(p.TimeStamp + uint64(k))
	return m
}

// sent describes what of the plan is sent; its ids are still to come.
func (p *plan) sent(d *Draft) *Sent {
	s := &Sent{Source: p.Source, Encryption: p.Encryption, Parts: p.parts(d, 0)}
	for _, l := range p.Letters {
		s.To = append(s.To, l.To)
	}
	return s
}

// ids returns the frame ids of the plan in order.
func (p *plan) ids(d *Draft) []frame.ID {
	ids := make([]frame.ID, p.frames(d))
	for k := range ids {
		m, _ := p.frame(d, k)
		ids[k] = m.FrameID()
	}
	return ids
}

// An envelope is what a draft needs of the server. Drafts to the same recipients
// share one.
type envelope struct {
	source     string
	to         []Party
	recipients []seal.Recipient // when it is encrypted to their keys
}

// fits tells whether a draft needs the same envelope as another.
func (d *Draft) fits(other *Draft) bool {
	return slices.Equal(d.To, other.To) && slices.Equal(d.Pin, other.Pin) && d.Encryption == other.Encryption && d.AsAddress == other.AsAddress
}

func (a *Account) envelope(ctx context.Context, d *Draft) (e *envelope, err error) {
	e = &envelope{}
	if e.to, err = a.resolveAll(ctx, d); err != nil {
		return nil, err
	}
	if e.source, err = a.Source(ctx, d.AsAddress); err != nil {
		return nil, err
	}
	switch d.Encryption {
	case "", improtocol.Plain, improtocol.AES:
		return e, nil
	}
	e.recipients, err = a.Recipients(ctx, e.to)
	return e, err
}

// plan resolves, encrypts and cuts a draft.
func (a *Account) plan(ctx context.Context, d *Draft) (*plan, error) {
	if err := d.Check(); err != nil {
		return nil, err
	}
	e, err := a.envelope(ctx, d)
	if err != nil {
		return nil, err
	}
	return a.planWith(e, d)
}

func (a *Account) planWith(e *envelope, d *Draft) (*plan, error) {
	own := a.Network.Address(a.Key.KeyHash())
	if d.From != "" && d.From != own {
		return nil, fmt.Errorf("the message is %s's to sign, not %s's", d.From, own)
	}
	p := &plan{From: own, Source: e.source, Encryption: d.Encryption}
	if err := a.seal(d, p, e); err != nil {
		return nil, err
	}
	group := 0
	for _, l := range p.Letters {
		group = max(group, len(l.To))
	}
	if p.PartBytes = a.partBytes(d, p.Source, group); p.PartBytes < 1 {
		return nil, fmt.Errorf("so many recipients don't fit one transaction of %d bytes", a.maxSize())
	}
	for i := range p.Letters {
		if n := p.parts(d, i); n > MaxParts {
			return nil, fmt.Errorf("the message takes %d parts, and a message has %d at most", n, MaxParts)
		}
	}
	if err := p.checkFrames(d); err != nil {
		return nil, err
	}
	p.TimeStamp = a.timeStamps(p.frames(d))
	return p, nil
}

// resolveAll finds all recipients, each once, before anything is done.
func (a *Account) resolveAll(ctx context.Context, d *Draft) ([]Party, error) {
	var to []Party
	for i, who := range d.To {
		party, err := a.Resolve(ctx, who)
		if err != nil {
			return nil, err
		}
		if len(d.Pin) > 0 && d.Pin[i] != "" && d.Pin[i] != a.Network.Address(party.Address) {
			return nil, &PinError{Who: who, Pinned: d.Pin[i], Found: a.Network.Address(party.Address)}
		}
		if !slices.ContainsFunc(to, func(p Party) bool { return p.Address == party.Address }) {
			to = append(to, party)
		}
	}
	return to, nil
}

// seal encrypts the draft's body and makes the letters of it.
func (a *Account) seal(d *Draft, p *plan, e *envelope) error {
	var all []string
	for _, r := range e.to {
		all = append(all, a.Network.Address(r.Address))
	}
	var shared *seal.Shared
	switch p.Encryption {
	case "", improtocol.Plain:
		p.Encryption, p.Letters = improtocol.Plain, []letter{{To: all}}
		return nil
	case improtocol.AES:
		var ok bool
		if shared, ok = a.shared(d.Shared); !ok {
			return fmt.Errorf("there is no shared key or passphrase %q in the key file", d.Shared)
		}
	case Auto:
		var err error
		if p.Encryption, err = seal.Strongest(e.recipients); err != nil {
			return howToGetKeys(err)
		}
	}
	oneEach := p.Encryption == improtocol.ECC || p.Encryption == improtocol.HPKE
	if oneEach && len(d.Body)*len(all) > maxPlan {
		return fmt.Errorf("%d bytes are too many to be encrypted to %d recipients at once", len(d.Body), len(all))
	}
	bodies, err := seal.Encrypt(p.Encryption, d.Body, e.recipients, shared)
	if err != nil {
		return howToGetKeys(err)
	}
	if !oneEach {
		p.Letters = []letter{{To: all, Body: bodies[0]}}
		return nil
	}
	for i, body := range bodies {
		p.Letters = append(p.Letters, letter{To: all[i : i+1], Body: body})
	}
	return nil
}

// howToGetKeys adds to the news that a key is missing how it is to be had.
func howToGetKeys(err error) error {
	var none *seal.NoKeyError
	if !errors.As(err, &none) || none.Encryption == improtocol.ECC {
		return err
	}
	if none.Encryption == "" {
		return fmt.Errorf("%w, or publish a key with metaim key publish", err)
	}
	return fmt.Errorf("%w: metaim key publish does that", err)
}

// Recipients finds the keys that parties can be encrypted to: the one proved for
// their address, and those that they published, each verified here.
func (u *Person) Recipients(ctx context.Context, to []Party) ([]seal.Recipient, error) {
	recipients := make([]seal.Recipient, len(to))
	for i, party := range to {
		address := u.Network.Address(party.Address)
		known, err := u.Client.Address(ctx, address)
		if err != nil {
			return nil, err
		}
		recipients[i].Label = u.Label(party)
		if key, ok := frame.ParsePublicKey(known.PublicKey); ok {
			if frame.HashKey(key) != party.Address {
				return nil, fmt.Errorf("the server's public key for %s is another address's: nothing was sent", u.Label(party))
			}
			recipients[i].PublicKey = key
		}
		for _, m := range known.Keys {
			if p, err := u.published(m, address); err == nil {
				recipients[i].Published = append(recipients[i].Published, p)
			}
		}
	}
	return recipients, nil
}

// published reads a key record. It counts only when it is signed by the address
// itself, and written to nobody else.
func (u *Person) published(m client.Message, address string) (seal.Published, error) {
	if err := client.Verify(m, u.Network); err != nil {
		return seal.Published{}, err
	}
	to := client.ParseOther(m.Other)[improtocol.OtherTo]
	switch {
	case m.Address != address, to != "" && to != address:
		return seal.Published{}, errors.New("the key record is not the address's own")
	case m.Type != improtocol.KeyRecord, m.Encryption != improtocol.Plain:
		return seal.Published{}, errors.New("the message is no key record")
	}
	return seal.ParsePublished(m.Body)
}

// maxSize is the most bytes that a transaction may have: for the wallet and for
// the server.
func (a *Account) maxSize() int {
	most := int64(signer.DefaultMaxSize)
	if limit := a.Info.Limits.TransactionBytes; limit > 0 {
		most = min(most, limit)
	}
	return int(most)
}

// partBytes returns the bytes of a message field that fit a transaction with what
// else stands in it: the other fields and outputs, and some inputs.
func (a *Account) partBytes(d *Draft, source string, recipients int) int {
	const (
		inputs  = 8 * 180 // bytes of so many inputs
		output  = 34
		fields  = 34 + 10 + 20 + 88 + 64 + 16 // identifier, encryption, time stamp, signature, of, part
		escaped = 3                           // bytes of a percent-encoded one
		spare   = 200                         // keys, lengths, counts, version
	)
	address := len(frame.Main.Address(frame.KeyHash{})) + 10
	return a.maxSize() - inputs - fields - spare - (recipients+1)*output - recipients*address -
		len(source) - len(d.Type) - escaped*len(d.FileName) - len(d.Re)
}
