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
	"github.com/spf13/cobra"
	"golang.org/x/text/unicode/norm"
)

func newName(p *program) *cobra.Command {
	c := &cobra.Command{Use: "name", Short: "Register, renew, show, transfer and delete names",
		Long: `Registers names to the addresses of your keys, renews, shows, transfers and
deletes them. A name is held for 365 days; whoever has names is reminded on
standard error, once a day, when one expires within 30 days.`,
		Example: "  metaim name list\n  metaim name show alice",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	for _, sub := range []*cobra.Command{newNameRegister(p), newNameRenew(p), newNameList(p), newNameShow(p), newNameHistory(p),
		newNameTransfer(p), newNameAccept(p), newNameSubmit(p), newNameDelete(p)} {
		addPersonFlags(sub)
		c.AddCommand(sub)
	}
	return c
}

// recordFlags are the flags of commands that send a record.
type recordFlags struct {
	from         string
	wait, asJSON bool
}

func (f *recordFlags) add(c *cobra.Command, from string) {
	c.Flags().StringVar(&f.from, "from", "", "label of the key that "+from)
	c.Flags().BoolVar(&f.wait, "wait", false, "wait until it is in a block")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print JSON")
}

func newNameRegister(p *program) *cobra.Command {
	var f recordFlags
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
			return withAccount(cmd, p, f.from, func(ctx context.Context, a *account) error {
				if err := a.free(ctx, name); err != nil {
					return err
				}
				return a.registerName(ctx, name, f)
			})
		},
	}
	f.add(c, "will hold the name and pays (default: the only key)")
	return c
}

func newNameRenew(p *program) *cobra.Command {
	var f recordFlags
	c := &cobra.Command{
		Use:   "renew NAME",
		Short: "Hold a name for another 365 days",
		Long: `Registers a name that one of your keys holds again: it then runs 365 days from
the block that holds the renewal.`,
		Example: "  metaim name renew alice",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withHolder(cmd, p, f.from, args[0], func(ctx context.Context, a *account) error {
				return a.registerName(ctx, args[0], f)
			})
		},
	}
	f.add(c, "holds the name and pays (default: the one that holds it)")
	return c
}

func (a *account) registerName(ctx context.Context, name string, f recordFlags) error {
	r := &nprotocol.Record{Protocol: frame.N, Operation: nprotocol.Register, Name: name, Address: a.Key.KeyHash()}
	return a.signAndSend(ctx, r, f, a.Key.Private())
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

// free says when somebody else holds the name, or is about to: the operation
// would be refused.
func (a *account) free(ctx context.Context, name string) error {
	n, err := a.Client.Name(ctx, name)
	var problem *client.Problem
	if errors.As(err, &problem) && problem.Code == client.CodeNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	own := a.Network.Address(a.Key.KeyHash())
	if n.State == client.NameValid && n.Address != own {
		return fmt.Errorf("name %q is %s's until %s", name, safetext.Line(n.Address), clock(n.ExpiresAt*1000))
	}
	for _, r := range n.Pending {
		if n.State != client.NameValid && r.Operation == string(nprotocol.Register) && r.Verdict == string(frame.Valid) && r.Address != own {
			return fmt.Errorf("name %q is being registered by %s, in no block yet", name, safetext.Line(r.Address))
		}
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

// withHolder is withAccount for the key that holds a name: the one named, or the
// one of this machine that does.
func withHolder(cmd *cobra.Command, p *program, from, name string, do func(context.Context, *account) error) error {
	u, err := connect(cmd, p)
	if err != nil {
		return err
	}
	if from == "" {
		if from, err = u.holderLabel(cmd.Context(), name); err != nil {
			return err
		}
	}
	a, err := u.unlock(cmd.Context(), from)
	if err != nil {
		return err
	}
	err = a.holds(cmd.Context(), name)
	if err == nil {
		err = do(cmd.Context(), a)
	}
	return errors.Join(err, a.Wallet.Close())
}

// holderLabel finds the key of this machine that holds a name.
func (u *person) holderLabel(ctx context.Context, name string) (string, error) {
	holder, err := u.Resolve(ctx, name)
	if err != nil {
		return "", err
	}
	keys, err := u.ring.store.List()
	if err != nil {
		return "", err
	}
	for _, e := range keys {
		if e.KeyHash == holder.Address {
			return e.Label, nil
		}
	}
	return "", fmt.Errorf("name %q is %s's, which is none of the keys here", name, u.Network.Address(holder.Address))
}

func newNameDelete(p *program) *cobra.Command {
	var f recordFlags
	var yes bool
	c := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a name: it is free for anyone then",
		Long: `Deletes a name that one of your keys holds. It is free for anyone then, and what
people send to it doesn't reach you. On a terminal you are asked; --yes goes
without.`,
		Example: "  metaim name delete alice --yes",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withHolder(cmd, p, f.from, args[0], func(ctx context.Context, a *account) error {
				question := fmt.Sprintf("Delete the name %q? Anyone may register it then.", args[0])
				if err := p.agree(question, yes || !p.canAsk()); err != nil {
					return err
				}
				r := &nprotocol.Record{Protocol: frame.N, Operation: nprotocol.Delete, Name: args[0], Address: a.Key.KeyHash()}
				return a.signAndSend(ctx, r, f, a.Key.Private())
			})
		},
	}
	f.add(c, "holds the name (default: the one that does)")
	c.Flags().BoolVar(&yes, "yes", false, "don't ask")
	return c
}

func newNameShow(p *program) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "show NAME",
		Short:   "Show who holds a name, since when and until when",
		Long:    "Shows who holds a name, since which block, until when, and what is pending for it.",
		Example: "  metaim name show alice",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			u, err := connect(cmd, p)
			if err != nil {
				return err
			}
			n, err := u.Client.Name(cmd.Context(), args[0])
			if err != nil {
				return notRegistered(args[0], err)
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

func notRegistered(name string, err error) error {
	var problem *client.Problem
	if errors.As(err, &problem) && problem.Code == client.CodeNotFound {
		return fmt.Errorf("name %q is not registered", name)
	}
	return err
}

func (p *program) printName(n client.Name) error {
	fmt.Fprintf(p.out, "%s is %s\n", safetext.Line(n.Name), safetext.Line(n.State))
	if n.Address != "" {
		fmt.Fprintf(p.out, "  address     %s\n", safetext.Line(n.Address))
		if n.Since != nil {
			fmt.Fprintf(p.out, "  since block %d\n", n.Since.Height)
		}
		fmt.Fprintf(p.out, "  registered  %s\n  expires     %s\n", clock(n.RegisteredAt*1000), clock(n.ExpiresAt*1000))
	}
	for _, r := range n.Pending {
		fmt.Fprintf(p.out, "  pending     %s by %s (%s)\n", safetext.Line(r.Operation), safetext.Line(r.Address), safetext.Line(r.Verdict))
	}
	return nil
}

func newNameHistory(p *program) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "history NAME",
		Short: "List every operation on a name, refused ones too",
		Long: `Lists every operation on a name in the order in which the server met them, refused
ones too, with what the rules say of each.`,
		Example: "  metaim name history alice",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			u, err := connect(cmd, p)
			if err != nil {
				return err
			}
			h, err := u.Client.NameHistory(cmd.Context(), args[0])
			if err == nil && len(h.Items) == 0 {
				err = &client.Problem{Code: client.CodeNotFound}
			}
			if err != nil {
				return notRegistered(args[0], err)
			}
			if asJSON {
				return json.NewEncoder(p.out).Encode(h)
			}
			return p.printHistory(h)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (p *program) printHistory(h *client.History) error {
	t := p.table(">block", "time", "operation", "verdict", "address", "transaction")
	for _, r := range h.Items {
		height, when := "-", "unconfirmed"
		if r.Height >= 0 {
			height, when = fmt.Sprint(r.Height), clock(r.BlockTime*1000)
		}
		address := r.Address
		if r.NewAddress != "" {
			address += " to " + r.NewAddress
		}
		t.row(height, when, safetext.Line(r.Operation), safetext.Line(r.Verdict), safetext.Line(address), safetext.Line(r.TxID))
	}
	if !h.Complete {
		fmt.Fprintln(p.err, "metaim: there are older operations, which the server doesn't list")
	}
	return t.print()
}
