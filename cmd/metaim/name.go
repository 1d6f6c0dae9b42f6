package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"unicode"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/safetext"
	"github.com/metaim/metaim/nprotocol"
	"github.com/metaim/metaim/signer"
	"github.com/spf13/cobra"
	"golang.org/x/text/unicode/norm"
)

func newName(p *program) *cobra.Command {
	c := &cobra.Command{Use: "name", Short: "Register, show, transfer and delete names", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	for _, sub := range []*cobra.Command{newNameRegister(p), newNameShow(p), newNameTransfer(p), newNameDelete(p)} {
		addPersonFlags(sub)
		c.AddCommand(sub)
	}
	return c
}

func newNameRegister(p *program) *cobra.Command {
	var from string
	var wait bool
	c := &cobra.Command{
		Use:   "register NAME",
		Short: "Register a name to a key's address for 365 days, or renew it",
		Long: `Registers a name to the address of a key. The first registration in a block
holds the name for 365 days; registering it again to the same address renews it.`,
		Example: "  metaim name register alice --from alice",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := p.checkNew(args[0])
			if err := nprotocol.CheckName(name); err != nil {
				return usageError{err}
			}
			return withAccount(cmd, p, from, func(ctx context.Context, a *account) error {
				r := &nprotocol.Record{Protocol: frame.N, Operation: nprotocol.Register, Name: name, Address: a.Key.KeyHash()}
				if err := a.free(ctx, name); err != nil {
					return err
				}
				return a.record(ctx, r, wait, a.Key.Private())
			})
		},
	}
	c.Flags().StringVar(&from, "from", "", "label of the key that will hold the name and pays (default: the only key)")
	c.Flags().BoolVar(&wait, "wait", false, "wait until it is in a block")
	return c
}

// checkNew brings a name into the form that looks the same everywhere (NFC), and
// warns of letters from several scripts.
func (p *program) checkNew(name string) string {
	normal := norm.NFC.String(name)
	if normal != name {
		fmt.Fprintf(p.err, "metaim: the name is registered in its normal form: %q\n", normal)
	}
	seen := ""
	for _, r := range normal {
		for _, script := range []string{"Latin", "Cyrillic", "Greek", "Armenian", "Hebrew", "Arabic", "Cherokee"} {
			if !unicode.Is(unicode.Scripts[script], r) || script == seen {
				continue
			}
			if seen != "" {
				fmt.Fprintf(p.err, "metaim: warning: the name mixes %s and %s letters; people may take it for another\n", seen, script)
				return normal
			}
			seen = script
		}
	}
	return normal
}

// free says when somebody else holds the name: the operation would be refused.
func (a *account) free(ctx context.Context, name string) error {
	n, err := a.Client.Name(ctx, name)
	var problem *client.Problem
	if errors.As(err, &problem) && problem.Code == client.CodeNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	if n.State == client.NameValid && n.Address != a.Network.Address(a.Key.KeyHash()) {
		return fmt.Errorf("name %q is %s's until %s", name, n.Address, clock(n.ExpiresAt*1000))
	}
	return nil
}

// holds says when the account's key doesn't hold the name.
func (a *account) holds(ctx context.Context, name string) error {
	holder, err := a.Resolve(ctx, name)
	if err != nil {
		return err
	}
	if holder.Address != a.Key.KeyHash() {
		return fmt.Errorf("name %q is %s's, not %s's", name, a.Network.Address(holder.Address), a.Network.Address(a.Key.KeyHash()))
	}
	return nil
}

// record signs a record and sends it with its payment to the registration
// address.
func (a *account) record(ctx context.Context, r *nprotocol.Record, wait bool, keys ...frame.PrivateKey) error {
	to, err := a.registration()
	if err != nil {
		return err
	}
	r.TimeStamp = fmt.Sprint(a.TimeStamp())
	if err := r.Sign(a.Network, keys...); err != nil {
		return err
	}
	script, err := r.AppendScript(nil, a.Network, frame.Pushes)
	if err != nil {
		return err
	}
	txid, err := a.Pay(ctx, signer.Request{Script: script, Pay: []signer.Output{{KeyHash: to, Satoshis: 1}}})
	if err != nil {
		return err
	}
	fmt.Fprintf(a.program.out, "%s %q sent in %s\n", r.Operation, r.Name, txid)
	if !wait {
		fmt.Fprintln(a.program.err, "metaim: it counts once it is in a block")
		return nil
	}
	return a.Confirmed(ctx, txid)
}

// registration returns the registration address in force for names.
func (a *account) registration() (frame.KeyHash, error) {
	list := a.Info.Registration.Names
	if len(list) == 0 {
		return frame.KeyHash{}, errors.New("the server names no registration address")
	}
	to := list[0]
	for _, g := range list {
		if a.Info.Tip.Height+1 >= g.FromHeight {
			to = g
		}
	}
	return a.Network.ParseAddress(to.Address)
}

// withAccount connects, unlocks and runs something, and closes what it opened.
func withAccount(cmd *cobra.Command, p *program, from string, do func(context.Context, *account) error) error {
	u, err := connect(cmd, p)
	if err != nil {
		return err
	}
	a, err := u.unlock(cmd.Context(), from)
	if err != nil {
		return err
	}
	return errors.Join(do(cmd.Context(), a), a.Wallet.Close())
}

func newNameTransfer(p *program) *cobra.Command {
	var from, to string
	var wait bool
	c := &cobra.Command{
		Use:     "transfer NAME",
		Short:   "Transfer a name from one key of this machine to another",
		Example: "  metaim name transfer alice --from alice --to carol",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withAccount(cmd, p, from, func(ctx context.Context, a *account) error {
				heir, err := a.ring.find(to)
				if err != nil {
					return err
				}
				if err := a.holds(ctx, args[0]); err != nil {
					return err
				}
				for _, e := range a.Keys {
					if e.KeyHash == heir.KeyHash {
						r := &nprotocol.Record{Protocol: frame.N, Operation: nprotocol.Transfer, Name: args[0],
							Address: a.Key.KeyHash(), NewAddress: heir.KeyHash}
						return a.record(ctx, r, wait, a.Key.Private(), e.Key.Private())
					}
				}
				return fmt.Errorf("there is no key %q", to)
			})
		},
	}
	c.Flags().StringVar(&from, "from", "", "label of the key that holds the name and pays (default: the only key)")
	c.Flags().StringVar(&to, "to", "", "label of the key that gets it")
	c.Flags().BoolVar(&wait, "wait", false, "wait until it is in a block")
	_ = c.MarkFlagRequired("to")
	return c
}

func newNameDelete(p *program) *cobra.Command {
	var from string
	var wait bool
	c := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a name: it is free for anyone then",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withAccount(cmd, p, from, func(ctx context.Context, a *account) error {
				if err := a.holds(ctx, args[0]); err != nil {
					return err
				}
				r := &nprotocol.Record{Protocol: frame.N, Operation: nprotocol.Delete, Name: args[0], Address: a.Key.KeyHash()}
				return a.record(ctx, r, wait, a.Key.Private())
			})
		},
	}
	c.Flags().StringVar(&from, "from", "", "label of the key that holds the name (default: the only key)")
	c.Flags().BoolVar(&wait, "wait", false, "wait until it is in a block")
	return c
}

func newNameShow(p *program) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "show NAME",
		Short: "Show who holds a name, since when and until when",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			u, err := connect(cmd, p)
			if err != nil {
				return err
			}
			n, err := u.Client.Name(cmd.Context(), args[0])
			var problem *client.Problem
			if errors.As(err, &problem) && problem.Code == client.CodeNotFound {
				return fmt.Errorf("name %q is not registered", args[0])
			}
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(p.out).Encode(n)
			}
			return p.printName(n.Name)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (p *program) printName(n client.Name) error {
	fmt.Fprintf(p.out, "%s is %s\n", safetext.Line(n.Name), n.State)
	if n.Address != "" {
		fmt.Fprintf(p.out, "  address     %s\n  since block %d\n  registered  %s\n  expires     %s\n",
			n.Address, n.Since.Height, clock(n.RegisteredAt*1000), clock(n.ExpiresAt*1000))
	}
	for _, r := range n.Pending {
		fmt.Fprintf(p.out, "  pending     %s by %s (%s)\n", r.Operation, r.Address, r.Verdict)
	}
	return nil
}
