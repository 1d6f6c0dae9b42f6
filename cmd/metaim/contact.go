package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/safetext"
	"github.com/metaim/metaim/messenger"
	"github.com/spf13/cobra"
)

func newContact(p *program) *cobra.Command {
	c := &cobra.Command{Use: "contact", Short: "Pin who somebody is, and be warned when that changes", Args: cobra.NoArgs,
		Long: `A contact pins the address and public key that a name had when it was added. It
can be written to by its label. A name that belongs to another address later is
refused, and names that look like a contact's are warned of (Unicode TR 39).

--json prints an object for each contact: label, name, address, public_key,
pinned (RFC 3339), note; and with show, warnings.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	c.AddCommand(newContactAdd(p), newContactList(p), newContactShow(p), newContactRemove(p))
	return c
}

// contacts opens the contacts of this machine.
func (k *keyring) contacts() (*messenger.Contacts, error) {
	return messenger.OpenContacts(filepath.Join(k.home, "contacts.json"))
}

func newContactAdd(p *program) *cobra.Command {
	var note string
	var asJSON bool
	c := &cobra.Command{
		Use:   "add LABEL [NAME-OR-ADDRESS]",
		Short: "Pin who a name or an address is now; a contact of this label is pinned anew",
		Long: `Asks the server who a name is, checks what it says as far as that can be, and
pins it under a label. Compare the address with the person by another way.

--json prints the contact: label, name, address, public_key, pinned, note.`,
		Example: "  metaim contact add bob\n  metaim contact add mother mfWxJ45yp2SFn7UciZyNpvDKrzbhyfKrY8",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			u, err := connect(cmd, p)
			if err != nil {
				return err
			}
			contacts, err := u.ring.contacts()
			if err != nil {
				return err
			}
			party, err := u.Resolve(cmd.Context(), args[len(args)-1])
			if err != nil {
				return err
			}
			contact, err := u.pin(cmd.Context(), args[0], party)
			if err != nil {
				return err
			}
			contact.Note = note
			u.warn(contacts, party)
			if err := contacts.Put(contact); err != nil {
				return err
			}
			return printContacts(p, asJSON, contact)
		},
	}
	c.Flags().StringVar(&note, "note", "", "what to remember of them")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	addPersonFlags(c)
	return c
}

// pin makes a contact of who a party is now.
func (u *person) pin(ctx context.Context, label string, party messenger.Party) (messenger.Contact, error) {
	c := messenger.Contact{Label: label, Name: party.Name, Address: u.Network.Address(party.Address), Pinned: time.Now()}
	known, err := u.Client.Address(ctx, c.Address)
	if err != nil {
		return c, err
	}
	key, ok := frame.ParsePublicKey(known.PublicKey)
	if ok && frame.HashKey(key) != party.Address {
		return c, fmt.Errorf("the server's public key for %s is another address's: nothing was pinned", u.Label(party))
	}
	if ok {
		c.PublicKey = hex.EncodeToString(key)
	}
	return c, nil
}

// warn says what there is to say about a party on standard error.
func (u *person) warn(contacts *messenger.Contacts, party messenger.Party) {
	for _, w := range contacts.Check(party) {
		fmt.Fprintf(u.program.err, "warning: %s\n", w)
	}
}

func newContactList(p *program) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List the contacts",
		Long:  "Lists the contacts of this machine by their labels.\n\n--json prints an object a line: label, name, address, public_key, pinned, note.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ring, err := openKeyring(cmd, p)
			if err != nil {
				return err
			}
			contacts, err := ring.contacts()
			if err != nil {
				return err
			}
			list := contacts.List()
			if len(list) == 0 {
				fmt.Fprintln(p.err, "There is no contact yet: metaim contact add LABEL NAME-OR-ADDRESS")
			}
			return printContacts(p, asJSON, list...)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	networkSetting.add(c)
	homeSetting.add(c)
	return c
}

func printContacts(p *program, asJSON bool, list ...messenger.Contact) error {
	if asJSON {
		for _, c := range list {
			if err := p.printJSON(c); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	for _, c := range list {
		name := safetext.Line(c.Name)
		if name == "" {
			name = "-"
		}
		line := fmt.Sprintf("%s\t%s\t%s\tpinned %s", safetext.Line(c.Label), name, c.Address, c.Pinned.Local().Format("2006-01-02"))
		if c.Note != "" {
			line += "\t" + safetext.Line(c.Note)
		}
		fmt.Fprintln(w, line)
	}
	return w.Flush()
}

func newContactShow(p *program) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "show LABEL",
		Short: "Show a contact, and whether its name is still who was pinned",
		Long: `Shows a contact and asks the server who its name is now.

--json prints the contact: label, name, address, public_key, pinned, note,
warnings (sentences; empty when all is as it was). The exit status is 1 when the
name is somebody else now.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			u, err := connect(cmd, p)
			if err != nil {
				return err
			}
			contacts, err := u.ring.contacts()
			if err != nil {
				return err
			}
			contact, ok := contacts.Get(args[0])
			if !ok {
				return noContact(args[0])
			}
			changed := u.changed(cmd.Context(), contact)
			if err := showContact(p, asJSON, contact, changed); err != nil {
				return err
			}
			return changed
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	addPersonFlags(c)
	return c
}

func noContact(label string) error {
	return fmt.Errorf("there is no contact %q: metaim contact list", label)
}

// changed tells why a contact isn't who was pinned, if so.
func (u *person) changed(ctx context.Context, c messenger.Contact) error {
	who := c.Name
	if who == "" {
		who = c.Address
	}
	party, err := u.Resolve(ctx, who)
	if err != nil {
		return err
	}
	if found := u.Network.Address(party.Address); found != c.Address {
		return &messenger.PinError{Who: who, Pinned: c.Address, Found: found}
	}
	return nil
}

func showContact(p *program, asJSON bool, c messenger.Contact, changed error) error {
	if asJSON {
		warnings := []string{}
		if changed != nil {
			warnings = append(warnings, safetext.Line(changed.Error()))
		}
		return p.printJSON(struct {
			messenger.Contact
			Warnings []string `json:"warnings"`
		}{c, warnings})
	}
	or := func(s string) string {
		if s == "" {
			return "-"
		}
		return safetext.Line(s)
	}
	_, err := fmt.Fprintf(p.out, "%s\n  name        %s\n  address     %s\n  public key  %s\n  pinned      %s\n  note        %s\n", safetext.Line(c.Label),
		or(c.Name), c.Address, or(c.PublicKey), c.Pinned.Local().Format("2006-01-02 15:04:05"), or(c.Note))
	return err
}

func newContactRemove(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:         "remove LABEL",
		Short:       "Forget a contact",
		Example:     "  metaim contact remove bob",
		Args:        cobra.ExactArgs(1),
		Annotations: map[string]string{noJSON: "says nothing when all is right"},
		RunE: func(cmd *cobra.Command, args []string) error {
			ring, err := openKeyring(cmd, p)
			if err != nil {
				return err
			}
			contacts, err := ring.contacts()
			if err != nil {
				return err
			}
			err = contacts.Remove(args[0])
			if errors.Is(err, messenger.ErrNoContact) {
				return noContact(args[0])
			}
			return err
		},
	}
	networkSetting.add(c)
	homeSetting.add(c)
	return c
}

// known replaces the labels of contacts by their names or addresses, and pins who
// these are.
func known(contacts *messenger.Contacts, who []string) (to, pins []string) {
	for _, w := range who {
		pin := ""
		if c, ok := lookUp(contacts, w); ok {
			if w, pin = c.Name, c.Address; w == "" {
				w = c.Address
			}
		}
		to, pins = append(to, w), append(pins, pin)
	}
	return to, pins
}

// lookUp finds a contact by its label, else by its name or address.
func lookUp(contacts *messenger.Contacts, who string) (messenger.Contact, bool) {
	if c, ok := contacts.Get(who); ok {
		return c, true
	}
	for _, c := range contacts.List() {
		if c.Name == who || c.Name == "" && c.Address == who {
			return c, true
		}
	}
	return messenger.Contact{}, false
}

// recipients finds all parties before anything is sent, and pins in the drafts
// who those are that contacts name.
func (u *person) recipients(ctx context.Context, f sendFlags, drafts []messenger.Draft) ([]messenger.Party, error) {
	contacts, err := u.ring.contacts()
	if err != nil {
		return nil, err
	}
	names, pins := known(contacts, f.to)
	to := make([]messenger.Party, len(names))
	for i, who := range names {
		if to[i], err = u.Resolve(ctx, who); err != nil {
			return nil, err
		}
		if who != f.to[i] {
			fmt.Fprintf(u.program.err, "%s is your contact %s.\n", safetext.Line(f.to[i]), u.Label(to[i]))
		}
		found := u.Network.Address(to[i].Address)
		if pins[i] != "" && pins[i] != found {
			if err := u.repin(ctx, contacts, f, f.to[i], to[i], pins[i]); err != nil {
				return nil, err
			}
			pins[i] = found
		}
		u.warn(contacts, to[i])
	}
	for i := range drafts {
		drafts[i].To, drafts[i].Pin = names, pins
	}
	return to, nil
}

// repin refuses a contact that is somebody else now, or pins who it is now when
// the flags say so.
func (u *person) repin(ctx context.Context, contacts *messenger.Contacts, f sendFlags, who string, party messenger.Party, pinned string) error {
	if !f.acceptNewKey {
		return fmt.Errorf("%w (--accept-new-key sends to the new one and pins it)",
			&messenger.PinError{Who: who, Pinned: pinned, Found: u.Network.Address(party.Address)})
	}
	old, ok := lookUp(contacts, who)
	if !ok {
		return nil
	}
	fresh, err := u.pin(ctx, old.Label, party)
	if err != nil {
		return err
	}
	fresh.Note = old.Note
	return contacts.Put(fresh)
}

// party returns whom a message is from, as far as it says.
func (u *person) party(m client.Message) messenger.Party {
	p := messenger.Party{Address: u.HashOf(m.Address)}
	if m.Source != m.Address {
		p.Name = m.Source
	}
	if key, ok := frame.ParsePublicKey(m.PublicKey); ok {
		p.PublicKey = key
	}
	return p
}
