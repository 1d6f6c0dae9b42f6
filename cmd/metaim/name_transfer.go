package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/messenger"
	"github.com/metaim/metaim/nprotocol"
	"github.com/spf13/cobra"
)

func newNameTransfer(p *program) *cobra.Command {
	var f recordFlags
	var to, toAddress, output string
	c := &cobra.Command{
		Use:   "transfer NAME",
		Short: "Transfer a name to another key",
		Long: `Transfers a name. Both the key that holds it and the one that gets it must sign.

Where both are on this machine, --to names the one that gets it, and the transfer
is sent. Else --to-address says who gets it, and -o the file for them: the holder
signs, the heir signs with metaim name accept, on a machine that needs no network,
and anyone sends and pays it with metaim name submit. Nothing is on the chain, and
nothing is paid, before that. Registering the name again makes a file that was
handed out useless.`,
		Example: "  metaim name transfer alice --from alice --to carol\n  metaim name transfer alice --from alice --to-address mfWxJ45yp2SFn7UciZyNpvDKrzbhyfKrY8 -o offer.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case to == "" && toAddress == "":
				return usagef("required flag(s) \"to\" not set")
			case to != "" && toAddress != "":
				return usagef("give --to or --to-address, not both")
			case toAddress == "" && output != "":
				return usagef("-o goes with --to-address")
			case toAddress == "":
				return transferHere(cmd, p, f, args[0], to)
			case output == "":
				return usagef("where to? give -o FILE for who gets the name")
			case f.wait || f.asJSON:
				return usagef("--wait and --json go with --to: nothing is sent yet")
			}
			return makeOffer(cmd, p, f.from, args[0], toAddress, output)
		},
	}
	f.add(c, "holds the name and pays (default: the one that holds it)")
	c.Flags().StringVar(&to, "to", "", "label of the key of this machine that gets it")
	c.Flags().StringVar(&toAddress, "to-address", "", "address that gets it, whose key is elsewhere")
	c.Flags().StringVarP(&output, "output", "o", "", "file for who gets it; - is standard output")
	return c
}

// transferHere transfers between two keys of this machine.
func transferHere(cmd *cobra.Command, p *program, f recordFlags, name, to string) error {
	return withHolder(cmd, p, f.from, name, func(ctx context.Context, a *account) error {
		heir, err := a.ring.find(to)
		if err != nil {
			return err
		}
		for _, e := range a.Keys {
			if e.KeyHash == heir.KeyHash {
				r := &nprotocol.Record{Protocol: frame.N, Operation: nprotocol.Transfer, Name: name,
					Address: a.Key.KeyHash(), NewAddress: heir.KeyHash}
				return a.signAndSend(ctx, r, f, a.Key.Private(), e.Key.Private())
			}
		}
		return fmt.Errorf("there is no key %q", to)
	})
}

// makeOffer signs a transfer as the holder and writes the file for the heir.
func makeOffer(cmd *cobra.Command, p *program, from, name, to, output string) error {
	u, err := connect(cmd, p)
	if err != nil {
		return err
	}
	heir, err := u.Network.ParseAddress(to)
	if err != nil {
		return usagef("--to-address %q: %w", to, err)
	}
	if from == "" {
		if from, err = u.holderLabel(cmd.Context(), name); err != nil {
			return err
		}
	}
	public, err := u.ring.find(from)
	if err != nil {
		return err
	}
	holder, err := u.Resolve(cmd.Context(), name)
	switch {
	case err != nil:
		return err
	case holder.Address != public.KeyHash:
		return fmt.Errorf("name %q is %s's, not %s's", name, u.Network.Address(holder.Address), u.Network.Address(public.KeyHash))
	case heir == public.KeyHash:
		return usageError{nprotocol.ErrSelf}
	}
	key, _, err := u.ring.unlockKey(from)
	if err != nil {
		return err
	}
	stamp := (&messenger.Account{}).TimeStamp()
	r := &nprotocol.Record{Protocol: frame.N, Operation: nprotocol.Transfer, Name: name, Address: key.KeyHash(), NewAddress: heir,
		TimeStamp: strconv.FormatUint(stamp, 10)}
	r.Signatures = [][]byte{key.Private().Sign(r.Preimage(u.Network))}
	if err := p.writeOffer(output, newOffer(r, u.Network)); err != nil {
		return err
	}
	fmt.Fprintf(p.err, "metaim: signed by %s; who gets the name signs with: metaim name accept %s --as LABEL -o signed.json\n", u.Network.Address(r.Address), output)
	return nil
}

// writeOffer writes an offer to a new file, or to standard output.
func (p *program) writeOffer(path string, o offer) error {
	text, err := o.text()
	if err != nil {
		return err
	}
	if path == "-" {
		_, err := fmt.Fprint(p.out, text)
		return err
	}
	return writeNew(path, text)
}

func newNameAccept(p *program) *cobra.Command {
	var as, output string
	c := &cobra.Command{
		Use:   "accept FILE",
		Short: "Sign a transfer that a name's holder has signed, to get the name",
		Long: `Reads the file of metaim name transfer, checks it, shows what it says and signs it
with the key that gets the name. No server is asked: it works on a machine without
a network. The file that it writes is sent by anyone with metaim name submit; its
two signatures say nothing else than that the name passes.`,
		Example:     "  metaim name accept offer.json --as carol -o signed.json",
		Args:        cobra.ExactArgs(1),
		Annotations: map[string]string{noJSON: "the file that it writes is JSON; -o - prints it"},
		RunE: func(cmd *cobra.Command, args []string) error {
			ring, err := openKeyring(cmd, p)
			if err != nil {
				return err
			}
			r, err := readOffer(p, args[0], ring.network)
			if err != nil {
				return err
			}
			return ring.accept(r, as, output)
		},
	}
	c.Flags().StringVar(&as, "as", "", "label of the key that gets the name (default: the one that does)")
	c.Flags().StringVarP(&output, "output", "o", "", "file for who sends it; - is standard output")
	_ = c.MarkFlagRequired("output")
	return c
}

func (k *keyring) accept(r *nprotocol.Record, as, output string) error {
	heir := k.network.Address(r.NewAddress)
	keys, err := k.store.List()
	if err != nil {
		return err
	}
	for _, e := range keys {
		if as == "" && e.KeyHash == r.NewAddress {
			as = e.Label
		}
	}
	if as == "" {
		return fmt.Errorf("the name goes to %s, which is none of the keys here", heir)
	}
	public, err := k.find(as)
	if err != nil {
		return err
	}
	if public.KeyHash != r.NewAddress {
		return fmt.Errorf("the name goes to %s, and the key %q is %s", heir, as, k.network.Address(public.KeyHash))
	}
	if len(r.Signatures) > 1 {
		return errors.New("both have signed it already: metaim name submit")
	}
	k.program.showTransfer(r, k.network)
	key, _, err := k.unlockKey(as)
	if err != nil {
		return err
	}
	r.Signatures = append(r.Signatures, key.Private().Sign(r.Preimage(k.network)))
	if err := k.program.writeOffer(output, newOffer(r, k.network)); err != nil {
		return err
	}
	fmt.Fprintf(k.program.err, "metaim: signed by both; anyone sends it with: metaim name submit %s --from LABEL\n", output)
	return nil
}

// showTransfer says on standard error what a transfer says.
func (p *program) showTransfer(r *nprotocol.Record, network frame.Network) {
	stamp, err := r.Time()
	if err != nil {
		stamp = 0 // it was checked before
	}
	fmt.Fprintf(p.err, "A transfer on %s:\n  name   %q\n  from   %s\n  to     %s\n  signed %s\n", network, r.Name,
		network.Address(r.Address), network.Address(r.NewAddress), clock(int64(stamp)))
	if r.Other != "" {
		fmt.Fprintf(p.err, "  other  %q\n", r.Other)
	}
}

func newNameSubmit(p *program) *cobra.Command {
	var f recordFlags
	c := &cobra.Command{
		Use:   "submit FILE",
		Short: "Send and pay a transfer that both have signed",
		Long: `Reads the file of metaim name accept, checks it and both signatures, and sends it.
Who sends and pays it needn't be one of those who signed. What is known to be
refused, because the name has another holder by now or the holder signed something
later, is not paid for.`,
		Example: "  metaim name submit signed.json --from alice",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			u, err := connect(cmd, p)
			if err != nil {
				return err
			}
			r, err := readOffer(p, args[0], u.Network)
			if err != nil {
				return err
			}
			if len(r.Signatures) < 2 {
				return errors.New("only its holder has signed it: who gets the name signs with metaim name accept")
			}
			holder, err := u.Resolve(cmd.Context(), r.Name)
			if err != nil {
				return err
			}
			if holder.Address != r.Address {
				return fmt.Errorf("name %q is %s's by now, not %s's", r.Name, u.Network.Address(holder.Address), u.Network.Address(r.Address))
			}
			a, err := u.unlock(cmd.Context(), f.from)
			if err != nil {
				return err
			}
			return errors.Join(a.sendRecord(cmd.Context(), r, f), a.Wallet.Close())
		},
	}
	f.add(c, "pays (default: the only key)")
	return c
}
