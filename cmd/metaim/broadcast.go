package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/safetext"
	"github.com/metaim/metaim/signer"
	"github.com/metaim/metaim/signer/broadcast"
	"github.com/spf13/cobra"
)

// What became of a transaction.
const (
	broadcastAccepted    = "accepted"
	broadcastRefused     = "refused"     // sending it again doesn't help
	broadcastUnavailable = "unavailable" // nobody decided
	broadcastInvalid     = "invalid"     // no transaction: it was not sent
)

// A broadcastResult is what `broadcast --json` prints of a transaction.
type broadcastResult struct {
	Line   int                   `json:"line"`           // of the input, from 1; 1 for bytes
	TxID   string                `json:"txid,omitempty"` // empty when invalid
	Result string                `json:"result"`         // accepted, refused, unavailable, invalid
	Reason string                `json:"reason,omitempty"`
	Frames []client.FrameVerdict `json:"frames,omitempty"` // what the rules say of each frame in it; not with --node
}

func newBroadcast(p *program) *cobra.Command {
	var asJSON bool
	var node string
	c := &cobra.Command{
		Use:   "broadcast [FILE]",
		Short: "Hand raw transactions to the network",
		Long: `Hands raw transactions to the network, through the server or with --node through
the RPC of a node. They are read from a file or from standard input: in hexadecimal,
one a line, or the bytes of one transaction. What became of each is one line; the
exit status is 1 unless all were accepted. One that the network has already is
accepted.`,
		Example: "  metaim broadcast transactions.hex\n  metaim broadcast --node http://user:password@127.0.0.1:8332 < transaction.bin",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			submit, err := submitter(cmd, p, node)
			if err != nil {
				return err
			}
			in := p.in
			if len(args) == 1 && args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer f.Close()
				in = f
			}
			return p.broadcast(cmd.Context(), in, submit, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	c.Flags().StringVar(&node, "node", "", "URL of a node's RPC, with user and password, instead of the server")
	serverSetting.add(c)
	return c
}

// A submitFunc hands in one transaction and says what the rules say of it.
type submitFunc func(ctx context.Context, raw []byte) ([]client.FrameVerdict, error)

func submitter(cmd *cobra.Command, p *program, node string) (submitFunc, error) {
	if node == "" {
		server, err := newClient(cmd, p)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context, raw []byte) ([]client.FrameVerdict, error) {
			s, err := server.Submit(ctx, raw)
			if err != nil {
				return nil, err
			}
			return s.Frames, nil
		}, nil
	}
	rpc, err := rpcClient(node)
	if err != nil {
		return nil, err
	}
	n := broadcast.NewNodeRPC(rpc)
	return func(ctx context.Context, raw []byte) ([]client.FrameVerdict, error) {
		_, err := n.Submit(ctx, raw)
		return nil, err
	}, nil
}

var errBroadcast = errors.New("not all transactions were accepted")

func (p *program) broadcast(ctx context.Context, in io.Reader, submit submitFunc, asJSON bool) error {
	sent, failed := 0, 0
	for raw, err := range rawTransactions(in) {
		if errors.Is(err, errInput) {
			return err
		}
		sent++
		r := broadcastResult{Line: raw.line, Result: broadcastAccepted}
		if err == nil {
			r.TxID = frame.HashOf(raw.bytes).String()
			r.Frames, err = submit(ctx, raw.bytes)
			if ctx.Err() != nil {
				return fmt.Errorf("stopped at line %d: handing the same in again does no harm", raw.line)
			}
			r.Result = resultOf(err)
		} else {
			r.Result = broadcastInvalid
		}
		if err != nil {
			failed++
			r.Reason = safetext.Line(reasonOf(err))
		}
		if err := p.printBroadcast(r, asJSON); err != nil {
			return err
		}
	}
	switch {
	case sent == 0:
		return usagef("there is no transaction in the input")
	case failed > 0:
		return fmt.Errorf("%w: %d of %d were not", errBroadcast, failed, sent)
	}
	return nil
}

// resultOf tells a refusal from an outage.
func resultOf(err error) string {
	var problem *client.Problem
	var refused *broadcast.Refused
	switch {
	case err == nil:
		return broadcastAccepted
	case errors.As(err, &refused), errors.As(err, &problem) && !problem.Retryable:
		return broadcastRefused
	}
	return broadcastUnavailable
}

func reasonOf(err error) string {
	var refused *broadcast.Refused
	if errors.As(err, &refused) {
		return refused.Reason
	}
	return err.Error()
}

func (p *program) printBroadcast(r broadcastResult, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(p.out).Encode(r)
	}
	s := p.style()
	paint := map[string]func(string) string{broadcastAccepted: s.green, broadcastUnavailable: s.yellow}[r.Result]
	if paint == nil {
		paint = s.red
	}
	line := paint(fmt.Sprintf("%-11s", r.Result)) + " "
	if r.TxID != "" {
		line += r.TxID
	} else {
		line += fmt.Sprintf("line %d", r.Line)
	}
	if r.Reason != "" {
		line += "  " + r.Reason
	}
	for _, f := range r.Frames {
		line += fmt.Sprintf("  %s %s: %s", safetext.Line(f.Protocol), safetext.Line(f.Operation), safetext.Line(f.Verdict))
	}
	_, err := fmt.Fprintln(p.out, line)
	return err
}

const maxRaw = 64 << 20 // bytes of one transaction that are read at all

var errInput = errors.New("the input can't be read")

// A rawInput is one transaction of the input.
type rawInput struct {
	line  int
	bytes []byte
}

// rawTransactions yields the transactions of an input: lines of hexadecimal, or,
// where it begins otherwise, the bytes of one. An error is of that line only,
// unless it is errInput.
func rawTransactions(in io.Reader) iter.Seq2[rawInput, error] {
	return func(yield func(rawInput, error) bool) {
		r := bufio.NewReaderSize(in, 1<<16)
		head, err := r.Peek(8)
		if err != nil && !errors.Is(err, io.EOF) {
			yield(rawInput{}, fmt.Errorf("%w: %w", errInput, err))
			return
		}
		if !isText(head) {
			raw, err := io.ReadAll(io.LimitReader(r, maxRaw+1))
			yield(rawInput{1, raw}, checkRaw(raw, err))
			return
		}
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, 2*maxRaw+2)
		for n := 1; lines.Scan(); n++ {
			text := bytes.TrimSpace(lines.Bytes())
			if len(text) == 0 {
				continue
			}
			raw, err := hex.DecodeString(string(text))
			if err != nil {
				err = errors.New("not a transaction in hexadecimal")
			} else {
				err = checkRaw(raw, nil)
			}
			if !yield(rawInput{n, raw}, err) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(rawInput{}, fmt.Errorf("%w: %w", errInput, err))
		}
	}
}

// isText tells whether an input begins as text: a raw transaction begins with its
// version, which has bytes of zero.
func isText(head []byte) bool {
	for _, b := range head {
		if b >= 0x7f || b < ' ' && b != '\n' && b != '\r' && b != '\t' {
			return false
		}
	}
	return true
}

func checkRaw(raw []byte, err error) error {
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", errInput, err)
	case len(raw) > maxRaw:
		return fmt.Errorf("it is larger than %s", size(maxRaw))
	}
	return signer.CheckRawTransaction(raw)
}
