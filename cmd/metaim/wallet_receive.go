package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"rsc.io/qr"
)

// A receiving is what `wallet receive --json` prints.
type receiving struct {
	Label    string `json:"label"`
	Address  string `json:"address"`
	Satoshis uint64 `json:"satoshis,omitempty"` // asked for
	URI      string `json:"uri"`
}

func newWalletReceive(p *program) *cobra.Command {
	var asJSON, code bool
	var amount uint64
	c := &cobra.Command{
		Use:   "receive [LABEL]",
		Short: "Show the address of a key, as text and as a QR code, to be paid",
		Long: `Shows the address of a key and a bitcoin: URI that asks for a payment to it; on a
terminal, or with --qr, also as a QR code. The amount in the URI is in coins of
100,000,000 satoshis. What is paid is told to the wallet by wallet add.`,
		Example: "  metaim wallet receive alice\n  metaim wallet receive alice --amount 5000 --qr",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			const all = 21_000_000 * 100_000_000
			if amount > all || cmd.Flags().Changed("amount") && amount == 0 {
				return usagef("--amount is 1 to %d satoshis", uint64(all))
			}
			ring, err := openKeyring(cmd, p)
			if err != nil {
				return err
			}
			e, err := ring.find(append(slices.Clone(args), "")[0])
			if err != nil {
				return err
			}
			r := receiving{Label: e.Label, Address: ring.network.Address(e.KeyHash), Satoshis: amount}
			r.URI = paymentURI(r.Address, amount)
			if asJSON {
				encoder := json.NewEncoder(p.out)
				encoder.SetEscapeHTML(false)
				return encoder.Encode(r)
			}
			f, ok := p.out.(*os.File)
			terminal := ok && term.IsTerminal(int(f.Fd()))
			return p.printReceiving(r, code || terminal && !cmd.Flags().Changed("qr"))
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().BoolVar(&code, "qr", false, "draw the QR code (default: on a terminal)")
	c.Flags().Uint64Var(&amount, "amount", 0, "satoshis to ask for")
	return c
}

// paymentURI writes a BIP 21 URI; its amount is in coins. It leaves out the label,
// which is nobody else's business.
func paymentURI(address string, satoshis uint64) string {
	if satoshis == 0 {
		return "bitcoin:" + address
	}
	coins := fmt.Sprintf("%d.%08d", satoshis/100_000_000, satoshis%100_000_000)
	return "bitcoin:" + address + "?amount=" + strings.TrimSuffix(strings.TrimRight(coins, "0"), ".")
}

func (p *program) printReceiving(r receiving, code bool) error {
	fmt.Fprintf(p.out, "%s\n%s\n", p.style().bold(r.Address), r.URI)
	if !code {
		return nil
	}
	drawn, err := halfBlocks(r.URI)
	if err != nil {
		return err
	}
	s := p.style()
	fmt.Fprintln(p.out)
	for line := range strings.Lines(drawn) {
		// White on black, whatever the terminal's colours are.
		if _, err := fmt.Fprintln(p.out, s.paint("97;40", strings.TrimSuffix(line, "\n"))); err != nil {
			return err
		}
	}
	return nil
}

// quietZone is the light border that a QR code needs, in modules.
const quietZone = 4

// halfBlocks draws a QR code, two rows of modules in a line: what is light is
// drawn, what is dark is left as the (dark) background.
func halfBlocks(text string) (string, error) {
	code, err := qr.Encode(text, qr.M)
	if err != nil {
		return "", fmt.Errorf("QR code: %w", err)
	}
	var b strings.Builder
	last := code.Size + quietZone
	for y := -quietZone; y < last; y += 2 {
		for x := -quietZone; x < last; x++ {
			top, bottom := !code.Black(x, y), y+1 < last && !code.Black(x, y+1)
			b.WriteString(map[[2]bool]string{{true, true}: "█", {true, false}: "▀", {false, true}: "▄", {false, false}: " "}[[2]bool{top, bottom}])
		}
		b.WriteByte('\n')
	}
	return b.String(), nil
}
