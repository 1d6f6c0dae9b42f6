package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/spf13/cobra"
)

// A state as `state --json` prints it.
type state struct {
	Height    int32                   `json:"height"` // -1: no block yet
	Block     string                  `json:"block"`
	StateHash string                  `json:"state_hash"`
	Counts    map[frame.Verdict]int64 `json:"counts"` // confirmed frames by verdict
}

func newState(p *program) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "state",
		Short:   "Print the height, the state hash and the number of frames of an index",
		Example: "  metaim state --store sqlite:index.db --network main --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStore(cmd, p, func(v index.View, _ frame.Network) error {
				tip, err := v.Tip()
				if err != nil {
					return err
				}
				counts, err := v.Counts()
				if err != nil {
					return err
				}
				s := state{Height: tip.Height, Block: tip.Hash.String(), StateHash: hex.EncodeToString(tip.StateHash[:]), Counts: counts}
				if asJSON {
					return json.NewEncoder(p.out).Encode(s)
				}
				return p.printState(s)
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	addStoreFlags(c)
	return c
}

func (p *program) printState(s state) error {
	if s.Height < 0 {
		_, err := fmt.Fprintln(p.out, "the index is empty")
		return err
	}
	fmt.Fprintf(p.out, "height      %d\nblock       %s\nstate hash  %s\n", s.Height, s.Block, s.StateHash)
	for _, v := range frame.Verdicts {
		if n := s.Counts[v]; n > 0 {
			fmt.Fprintf(p.out, "%-18s %d\n", v, n)
		}
	}
	return nil
}

func newExport(p *program) *cobra.Command {
	var confirmed bool
	c := &cobra.Command{
		Use:   "export",
		Short: "Print an index as JSON lines: frames in canonical order, names, peers",
		Long: `Prints every frame in canonical order, then every name ever validly held, then
every peer record ever valid, one JSON object a line; docs/spec/index.md describes
them. Two indexes of the same chain print the same confirmed lines.`,
		Example: "  metaim export --store sqlite:index.db --network main --confirmed > index.ndjson",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStore(cmd, p, func(v index.View, network frame.Network) error {
				out := bufio.NewWriter(p.out)
				if err := index.Export(out, v, network, confirmed); err != nil {
					return err
				}
				return out.Flush()
			})
		},
	}
	c.Flags().BoolVar(&confirmed, "confirmed", false, "leave out what is in no block yet")
	addStoreFlags(c)
	return c
}
