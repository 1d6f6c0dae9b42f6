package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/safetext"
	"github.com/metaim/metaim/nprotocol"
	"github.com/spf13/cobra"
)

func newPeer(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:   "peer",
		Short: "Register, list and delete the IPs where an address can be reached",
		Long: `Registers, lists and deletes the IPs where the holder of an address can be reached
without the chain (the P protocol). A registration runs 365 days. What is on the
chain is public for ever: everyone sees that the address was at that IP.`,
		Example: "  metaim peer register 192.0.2.1:8433 --from alice\n  metaim peer list alice",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, sub := range []*cobra.Command{newPeerRegister(p), newPeerDelete(p), newPeerList(p)} {
		addPersonFlags(sub)
		c.AddCommand(sub)
	}
	return c
}

// parsePeer reads IP, IPv4:port or [IPv6]:port. The port of an IPv6 address goes
// into other information: brackets can't stand in a field. The IP is written in
// its usual form, since two ways to write one are two records.
func parsePeer(text string) (ip, other string, address netip.Addr, err error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return a.String(), "", a, nprotocol.CheckIP(a.String())
	}
	both, err := netip.ParseAddrPort(text)
	if err != nil {
		return "", "", address, fmt.Errorf("%q is neither an IP nor IPv4:port nor [IPv6]:port", text)
	}
	ip = both.String()
	if both.Addr().Is6() {
		ip, other = both.Addr().String(), fmt.Sprintf("port=%d", both.Port())
		if both.Port() == 0 {
			return "", "", address, fmt.Errorf("%w: port 0 is not 1 to 65535", nprotocol.ErrIP)
		}
	}
	return ip, other, both.Addr(), nprotocol.CheckIP(ip)
}

func newPeerRegister(p *program) *cobra.Command {
	var f recordFlags
	c := &cobra.Command{
		Use:   "register IP[:PORT]",
		Short: "Register an IP to a key's address for 365 days, or renew it",
		Long: `Registers an IP to the address of a key for 365 days; what is registered already
is renewed. An IPv4 address may carry a port, 192.0.2.1:8433; an IPv6 address
with a port is written [2001:db8::1]:8433.`,
		Example: "  metaim peer register 192.0.2.1:8433 --from alice\n  metaim peer register '[2001:db8::1]:8433' --from alice",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ip, other, address, err := parsePeer(args[0])
			if err != nil {
				return usageError{err}
			}
			if !address.IsGlobalUnicast() || address.IsPrivate() {
				fmt.Fprintf(p.err, "metaim: warning: %s is not an address that others can reach from everywhere\n", address)
			}
			return withAccount(cmd, p, f.from, func(ctx context.Context, a *account) error {
				r := &nprotocol.Record{Protocol: frame.P, Operation: nprotocol.Register, IP: ip, Address: a.Key.KeyHash(), Other: other}
				return a.signAndSend(ctx, r, f, a.Key.Private())
			})
		},
	}
	f.add(c, "can be reached there and pays (default: the only key)")
	return c
}

func newPeerDelete(p *program) *cobra.Command {
	var f recordFlags
	c := &cobra.Command{
		Use:   "delete IP[:PORT]",
		Short: "Delete an IP of a key's address",
		Long: `Deletes an IP that is registered to the address of a key. It is named as metaim peer
list shows it; the port of an IPv6 address is left out.`,
		Example: "  metaim peer delete 192.0.2.1:8433 --from alice",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ip, _, _, err := parsePeer(args[0])
			if err != nil {
				return usageError{err}
			}
			return withAccount(cmd, p, f.from, func(ctx context.Context, a *account) error {
				known, err := a.Client.Address(ctx, a.Network.Address(a.Key.KeyHash()))
				var problem *client.Problem
				if err != nil && !(errors.As(err, &problem) && problem.Code == client.CodeNotFound) {
					return err
				}
				if err != nil || !slices.ContainsFunc(known.Peers, func(e client.Peer) bool { return e.IP == ip && e.State == client.NameValid }) {
					return fmt.Errorf("%s is not registered to %s", ip, a.Network.Address(a.Key.KeyHash()))
				}
				r := &nprotocol.Record{Protocol: frame.P, Operation: nprotocol.Delete, IP: ip, Address: a.Key.KeyHash()}
				return a.signAndSend(ctx, r, f, a.Key.Private())
			})
		},
	}
	f.add(c, "the IP is registered to (default: the only key)")
	return c
}

func newPeerList(p *program) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "list [WHO]",
		Short: "List the IPs of an address or a name",
		Long: `Lists the IPs that are or were registered to an address or a name; with no
argument, to the only key of this machine.`,
		Example: "  metaim peer list alice",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			u, err := connect(cmd, p)
			if err != nil {
				return err
			}
			r, err := u.reader(cmd.Context(), args, asJSON, false)
			if err != nil {
				return err
			}
			a, err := u.Client.Address(cmd.Context(), u.Network.Address(r.of.Address))
			if err != nil {
				return err
			}
			return p.printPeers(a.Peers, u.Label(r.of), asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return c
}

func (p *program) printPeers(peers []client.Peer, of string, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(p.out)
		for _, peer := range peers {
			if err := e.Encode(peer); err != nil {
				return err
			}
		}
		return nil
	}
	if len(peers) == 0 {
		fmt.Fprintf(p.err, "No IPs of %s.\n", of)
		return nil
	}
	t := p.table("ip", "state", "registered", "expires")
	for _, peer := range peers {
		t.row(safetext.Line(peer.IP), safetext.Line(peer.State), clock(peer.RegisteredAt*1000), clock(peer.ExpiresAt*1000))
	}
	return t.print()
}
