package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/proof"
	"github.com/spf13/cobra"
)

func newProof(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:   "proof",
		Short: "Prove that a message is in a block, and check such proofs without a server",
		Long: `A proof holds the transaction that carries a message, its way to a block, and the
block's header. With the headers of the chain, from wherever you trust, it shows to
anyone at any time that the message was signed and stood in that block.`,
		Example: "  metaim proof fetch 3f0c... -o message.proof\n  metaim proof headers -o headers.bin\n  metaim proof verify message.proof --headers headers.bin",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(newProofFetch(p), newProofVerify(p), newProofHeaders(p))
	return c
}

func newProofFetch(p *program) *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:   "fetch ID",
		Short: "Fetch the proof of a confirmed message from a server",
		Long: `Fetches the proof of a message, which is named by its id or by txid:vout, and
writes it as JSON. The server is not trusted: "proof verify" checks what it says.`,
		Example:     "  metaim proof fetch 3f0c... -o message.proof",
		Args:        cobra.ExactArgs(1),
		Annotations: map[string]string{noJSON: "a proof is JSON"},
		RunE: func(cmd *cobra.Command, args []string) error {
			server, err := newClient(cmd, p)
			if err != nil {
				return err
			}
			got, err := server.Proof(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			text, err := json.MarshalIndent(got, "", "  ")
			if err != nil {
				return err
			}
			text = append(text, '\n')
			if out == "" {
				_, err = p.out.Write(text)
				return err
			}
			if err := replaceFile(out, text); err != nil {
				return err
			}
			_, err = fmt.Fprintf(p.err, "wrote %s: the message is said to be in the block at height %d; \"metaim proof verify\" checks it\n", out, got.Block.Height)
			return err
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "", "file to write; without it the proof is printed")
	serverSetting.add(c)
	return c
}

func newProofVerify(p *program) *cobra.Command {
	var headersFile string
	var asJSON bool
	c := &cobra.Command{
		Use:   "verify FILE",
		Short: "Check a proof with headers, without any server",
		Long: `Checks a proof: that the output carries the message, that it is signed, that the
transaction is in the block, and that the block is in the chain of the headers given,
each of which must follow the one before and have the work it claims. What is proved,
and what nobody can prove in this way, is said in sentences.

A file of headers holds 80 bytes for each block, from the first one of the network on.`,
		Example: "  metaim proof verify message.proof --headers headers.bin",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			headers, err := readHeaders(headersFile)
			if err != nil {
				return err
			}
			result, err := verifyFile(args[0], headers)
			if err != nil {
				return fmt.Errorf("%s proves nothing: %w", args[0], err)
			}
			if asJSON {
				return json.NewEncoder(p.out).Encode(result)
			}
			return p.printProved(result)
		},
	}
	c.Flags().StringVar(&headersFile, "headers", "", "file of block headers")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	if err := c.MarkFlagRequired("headers"); err != nil {
		panic(err)
	}
	return c
}

func (p *program) printProved(r *proof.Result) error {
	fmt.Fprintln(p.out, "Proved:")
	for _, sentence := range r.Proved {
		fmt.Fprintln(p.out, "  "+sentence)
	}
	fmt.Fprintln(p.out, "Not proved:")
	var err error
	for _, sentence := range r.NotProved {
		_, err = fmt.Fprintln(p.out, "  "+sentence)
	}
	return err
}

func verifyFile(path string, headers *proof.Headers) (*proof.Result, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	read, err := proof.Read(f)
	if err != nil {
		return nil, err
	}
	return proof.Verify(read, headers)
}

func readHeaders(path string) (*proof.Headers, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	headers, err := proof.ReadHeaders(bufio.NewReaderSize(f, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return headers, nil
}

// headersWritten as `proof headers --json` prints it.
type headersWritten struct {
	Network frame.Network `json:"network"`
	From    int32         `json:"from"` // height of the first header
	Tip     int32         `json:"tip"`  // of the last
	Added   int32         `json:"added"`
	Removed int32         `json:"removed"` // which a reorganisation took off the chain
}

func newProofHeaders(p *program) *cobra.Command {
	var out string
	var asJSON bool
	c := &cobra.Command{
		Use:   "headers",
		Short: "Fetch block headers from a server into a file",
		Long: `Fetches the headers of the chain and writes them to a file, 80 bytes each. Of a file
that is there already only what is missing is asked for, and what a reorganisation took
off the chain is replaced. Each header is checked: that it follows the one before, and
that it has the work it claims. That the chain is the one with the most work is the
server's word: compare the last header with another source.`,
		Example: "  metaim proof headers -o headers.bin",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			server, err := newClient(cmd, p)
			if err != nil {
				return err
			}
			before, err := readHeaders(out)
			if errors.Is(err, fs.ErrNotExist) {
				before, err = &proof.Headers{}, nil
			}
			if err != nil {
				return err
			}
			after, err := proof.Fetch(cmd.Context(), before, server.Headers)
			if err != nil {
				return err
			}
			if after.Tip() < 0 {
				return errors.New("the server has no headers yet")
			}
			same := after.Common(before)
			w := headersWritten{Network: after.Network(), From: after.From(), Tip: after.Tip(),
				Added: after.Tip() - same, Removed: before.Tip() - same}
			if w.Added > 0 || w.Removed > 0 {
				if err := replaceFile(out, after.Bytes()); err != nil {
					return err
				}
			}
			if asJSON {
				return json.NewEncoder(p.out).Encode(w)
			}
			_, err = fmt.Fprintf(p.out, "%s: headers of %s from %d to %d, %d new, %d replaced\n", out, w.Network, w.From, w.Tip, w.Added, w.Removed)
			return err
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "", "file to write or to bring up to date")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	if err := c.MarkFlagRequired("output"); err != nil {
		panic(err)
	}
	serverSetting.add(c)
	return c
}

// replaceFile writes a file so that it is there whole or as it was.
func replaceFile(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Chmod(f.Name(), 0o644) // #nosec G302 -- everybody may read it
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
