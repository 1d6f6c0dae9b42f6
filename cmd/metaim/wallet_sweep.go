package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/metaim/metaim/messenger"
	"github.com/metaim/metaim/signer"
	"github.com/spf13/cobra"
)

// A swept is what `wallet sweep --json` prints.
type swept struct {
	TxID      string `json:"txid"` // empty with --dry-run
	To        string `json:"to"`   // address
	Coins     int    `json:"coins"`
	Dust      int    `json:"dust"`      // of coins, those of 1 satoshi
	Satoshis  uint64 `json:"satoshis"`  // in the coins
	Fee       uint64 `json:"fee"`       // satoshis
	Arrives   uint64 `json:"arrives"`   // satoshis
	Worthless int    `json:"worthless"` // coins that stay: they cost more in fees than they hold
	Left      int    `json:"left"`      // coins that had no room: another sweep takes them
}

func newWalletSweep(p *program) *cobra.Command {
	var from, to string
	var rate uint64
	var asJSON, yes, dryRun bool
	c := &cobra.Command{
		Use:   "sweep",
		Short: "Send all coins of a key to an address in one transaction",
		Long: `Sends all coins of a key to an address or a name, in one transaction of one output.
A coin that costs more in fees than it holds stays where it is: at the usual rate
of 100 satoshis for 1,000 bytes that is dust below 15 satoshis; where miners take
less, --rate 1 brings dust of 1 satoshi too. What will happen is shown and asked.
There is no --wait: the index doesn't see transactions that carry no message.`,
		Example: "  metaim wallet sweep --from alice --to mfWxJ45yp2SFn7UciZyNpvDKrzbhyfKrY8\n  metaim wallet sweep --from alice --to bob --rate 1 --yes",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if rate == 0 {
				return usagef("--rate is at least 1")
			}
			u, err := connect(cmd, p)
			if err != nil {
				return err
			}
			party, err := u.Resolve(cmd.Context(), to)
			if err != nil {
				return err
			}
			a, err := u.unlock(cmd.Context(), from)
			if err != nil {
				return err
			}
			s := sweeper{account: a, to: party, asJSON: asJSON, yes: yes, dryRun: dryRun,
				sweep: signer.Sweep{From: a.Key.KeyHash(), To: party.Address, Rate: signer.FeeRate{Satoshis: rate, Bytes: 1000}}}
			return errors.Join(s.run(cmd.Context()), a.Wallet.Close())
		},
	}
	flags := c.Flags()
	flags.StringVar(&from, "from", "", "label of the key whose coins are sent (default: the only key)")
	flags.StringVar(&to, "to", "", "address or name that gets them")
	flags.Uint64Var(&rate, "rate", signer.DefaultFeeRate.Satoshis, "fee: satoshis for 1,000 bytes")
	flags.BoolVar(&yes, "yes", false, "don't ask")
	flags.BoolVar(&dryRun, "dry-run", false, "say what would happen, and end")
	flags.BoolVar(&asJSON, "json", false, "print JSON")
	_ = c.MarkFlagRequired("to")
	return c
}

type sweeper struct {
	*account
	to     messenger.Party
	sweep  signer.Sweep
	asJSON bool
	yes    bool
	dryRun bool
}

func (s *sweeper) run(ctx context.Context) error {
	plan, err := s.Wallet.PlanSweep(s.sweep)
	if err != nil {
		return err
	}
	if s.dryRun {
		return s.print("", plan)
	}
	if !s.yes {
		s.tell(plan)
	}
	if err := s.program.agree("Send them?", s.yes); err != nil {
		return err
	}
	signed, plan, err := s.Wallet.Sweep(s.sweep)
	if err != nil {
		return err
	}
	if err := s.Submit(ctx, signed.TxID, signed.Raw); err != nil {
		return err
	}
	return s.print(signed.TxID.String(), plan)
}

// tell says on standard error what will happen.
func (s *sweeper) tell(plan signer.SweepPlan) {
	fmt.Fprintf(s.program.err, "%s coins of %s (%s of them dust) hold %s satoshis.\n%s satoshis or more go to %s; the fee is %s satoshis at most.\n",
		grouped(uint64(plan.Coins)), s.Network.Address(s.Key.KeyHash()), grouped(uint64(plan.Dust)), grouped(plan.Satoshis),
		grouped(plan.Arrives), s.Label(s.to), grouped(plan.Fee))
	s.rest(plan)
}

// rest says on standard error what stays behind.
func (s *sweeper) rest(plan signer.SweepPlan) {
	if plan.Worthless > 0 {
		fmt.Fprintf(s.program.err, "metaim: %d coins of %d satoshis stay: they cost more in fees than they hold; a lower --rate may bring them\n", plan.Worthless, plan.WorthlessSatoshis)
	}
	if plan.Left > 0 {
		fmt.Fprintf(s.program.err, "metaim: %d coins of %d satoshis had no room in the transaction: sweep again\n", plan.Left, plan.LeftSatoshis)
	}
}

func (s *sweeper) print(txid string, plan signer.SweepPlan) error {
	to := s.Network.Address(s.to.Address)
	if s.asJSON {
		return json.NewEncoder(s.program.out).Encode(swept{TxID: txid, To: to, Coins: plan.Coins, Dust: plan.Dust,
			Satoshis: plan.Satoshis, Fee: plan.Fee, Arrives: plan.Arrives, Worthless: plan.Worthless, Left: plan.Left})
	}
	if txid == "" {
		s.tell(plan)
		return nil
	}
	if s.yes {
		s.rest(plan)
	}
	_, err := fmt.Fprintf(s.program.out, "sent %d satoshis of %d coins to %s in %s, fee %d satoshis\n", plan.Arrives, plan.Coins, s.Label(s.to), txid, plan.Fee)
	return err
}
