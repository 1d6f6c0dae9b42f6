package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/nprotocol"
	"github.com/spf13/cobra"
)

func newFrame(p *program) *cobra.Command {
	c := &cobra.Command{Use: "frame", Short: "Look at protocol frames", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	c.AddCommand(newFrameDecode(p))
	return c
}

func newFrameDecode(p *program) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "decode",
		Short: "Read output scripts and say what they hold",
		Long: `Reads one output script a line from standard input, in hexadecimal, optionally
followed by a space and known public keys in hexadecimal, joined by commas, and
says which frame it holds and whether it is signed by whom it names. What only
the chain knows is left open: a name's holder ("needs_name"), payments, what was
said before.`,
		Example: "  echo 006a22... | metaim frame decode --json --network main",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			n, err := networkOf(cmd, p)
			if err != nil {
				return err
			}
			return decodeLines(p.in, p.out, n, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	networkSetting.add(c)
	return c
}

// A decoded frame, as `frame decode --json` prints it.
type decoded struct {
	Protocol   string   `json:"protocol"`
	Operation  string   `json:"operation"`
	Verdict    string   `json:"verdict"`
	Source     string   `json:"source"`
	Type       string   `json:"type"`
	Encryption string   `json:"encryption"`
	MessageHex string   `json:"message_hex"`
	Other      string   `json:"other"`
	TimeStamp  string   `json:"time_stamp"`
	FrameID    string   `json:"frame_id"`
	ContentID  string   `json:"content_id"`
	Signers    []string `json:"signers"`
	Fields     []string `json:"fields,omitempty"` // of N and P, before the signatures
	Reason     string   `json:"reason"`
}

const (
	notOurs   = "not_ours"
	needsName = "needs_name"
)

// decodeLines decodes each line. A line that isn't hexadecimal is said to be so,
// the others are still decoded, and the whole fails.
func decodeLines(in io.Reader, out io.Writer, network frame.Network, asJSON bool) error {
	r := bufio.NewReaderSize(in, 1<<20)
	w := bufio.NewWriter(out)
	wrong := 0
	for n := 1; ; n++ {
		line, err := r.ReadString('\n')
		if line == "" && err != nil {
			if !errors.Is(err, io.EOF) {
				return err
			}
			break
		}
		d, wrongLine := decodeLine(strings.TrimSpace(line), network)
		if wrongLine != nil {
			wrong++
			d = decoded{Verdict: notOurs, Signers: []string{}, Reason: fmt.Sprintf("line %d: %v", n, wrongLine)}
		}
		if err := d.print(w, asJSON); err != nil {
			return err
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if wrong > 0 {
		return usagef("%d of the lines are not output scripts in hexadecimal", wrong)
	}
	return nil
}

func (d *decoded) print(w io.Writer, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		return e.Encode(d)
	}
	_, err := fmt.Fprintf(w, "%-18s %-2s %-8s %s\n", d.Verdict, d.Protocol, d.Operation, d.Reason)
	return err
}

func decodeLine(line string, network frame.Network) (decoded, error) {
	text, list, _ := strings.Cut(line, " ")
	script, err := hex.DecodeString(text)
	if err != nil {
		return decoded{}, fmt.Errorf("the script is not hexadecimal")
	}
	var keys [][]byte
	for _, k := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }) {
		key, ok := frame.ParsePublicKey(k)
		if !ok {
			return decoded{}, fmt.Errorf("a public key is not 33 or 65 bytes in hexadecimal")
		}
		keys = append(keys, key)
	}
	return decode(script, keys, network), nil
}

// decode says of a script what can be said without the chain.
func decode(script []byte, keys [][]byte, network frame.Network) decoded {
	f, err := frame.Read(script)
	var refused *frame.ParseError
	switch {
	case errors.As(err, &refused):
		return decoded{Protocol: string(refused.Protocol), Verdict: string(frame.Malformed), Signers: []string{}, Reason: refused.Error()}
	case err != nil:
		return decoded{Verdict: notOurs, Signers: []string{}, Reason: "the script doesn't begin as a frame of these protocols"}
	case f.Protocol == frame.IM:
		return decodeMessage(f, keys, network)
	}
	r, err := nprotocol.FromFrame(f, network)
	if err != nil {
		return decoded{Protocol: string(f.Protocol), Verdict: string(frame.Malformed), Signers: []string{}, Reason: err.Error()}
	}
	return decodeRecord(f, r, keys, network)
}

func decodeMessage(f frame.Frame, keys [][]byte, network frame.Network) decoded {
	m := improtocol.FromFrame(f)
	d := decoded{Protocol: string(f.Protocol), Operation: "message", Source: m.Source, Type: m.Type, Encryption: m.Encryption,
		MessageHex: hex.EncodeToString(m.Body), Other: m.Other, TimeStamp: m.TimeStamp,
		FrameID: m.FrameID().String(), ContentID: m.ContentID().String()}
	s := signatureCheck{preimage: m.Preimage(), keys: withPub(keys, m.Other), network: network}
	address, err := network.ParseAddress(m.Source)
	named := err != nil
	s.check(m.Signature, address)
	d.Signers = s.signers
	if _, err := m.Time(); err != nil {
		d.conclude(frame.BadTimeStamp, err.Error())
		return d
	}
	if named {
		d.conclude(needsName, fmt.Sprintf("source %q is a name: only the chain says whose", m.Source))
		return d
	}
	d.conclude(s.verdict, explain[s.verdict])
	return d
}

func decodeRecord(f frame.Frame, r *nprotocol.Record, keys [][]byte, network frame.Network) decoded {
	preimage := r.Preimage(network)
	d := decoded{Protocol: string(f.Protocol), Operation: string(r.Operation), Other: r.Other, TimeStamp: r.TimeStamp,
		FrameID: frame.IDOf(preimage).String()}
	for _, field := range f.Fields[:len(f.Fields)-f.Signatures()] {
		d.Fields = append(d.Fields, string(field))
	}
	s := signatureCheck{preimage: preimage, keys: withPub(keys, r.Other), network: network}
	for i, signer := range r.Signers() {
		s.check(r.Signatures[i], signer)
	}
	d.Signers = s.signers
	if _, err := r.Time(); err != nil {
		d.conclude(frame.BadTimeStamp, err.Error())
		return d
	}
	d.conclude(s.verdict, explain[s.verdict])
	return d
}

func (d *decoded) conclude(v frame.Verdict, reason string) {
	d.Verdict, d.Reason = string(v), reason
}

var explain = map[frame.Verdict]string{
	frame.Valid:            "every signature is by the key of the address that the frame names",
	frame.BadSignature:     "a signature is not by the key of the address that the frame names",
	frame.PublicKeyUnknown: "a signature is DER, and no public key is known for the address: give it after the script",
}

func withPub(keys [][]byte, other string) [][]byte {
	if key, ok := improtocol.PublicKey(other); ok {
		return append(slices.Clone(keys), key)
	}
	return keys
}

// A signatureCheck checks the signatures of one frame in order; the first that
// doesn't hold decides.
type signatureCheck struct {
	preimage []byte
	keys     [][]byte
	network  frame.Network
	signers  []string // address for each signature, empty where it isn't known
	verdict  frame.Verdict
}

func (s *signatureCheck) check(field []byte, by frame.KeyHash) {
	proof := frame.Prove(s.preimage, field)
	_, verdict := proof.Check(s.preimage, by, slices.Values(s.keys))
	if s.verdict == "" || s.verdict == frame.Valid {
		s.verdict = verdict
	}
	s.signers = append(s.signers, s.signer(proof))
}

func (s *signatureCheck) signer(proof frame.Proof) string {
	if proof.Key != nil {
		return s.network.Address(frame.HashKey(proof.Key))
	}
	for _, key := range s.keys {
		if proof.Signature.Verify(s.preimage, key) {
			return s.network.Address(frame.HashKey(key))
		}
	}
	return ""
}
