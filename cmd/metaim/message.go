package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/messenger"
	"github.com/spf13/cobra"
)

func newShow(p *program) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "show ID",
		Short: "Show one message, decrypted and put together",
		Long: `Shows a message: its text, or what it is when it isn't text. It is verified,
decrypted with the keys of this machine, and put together if it is in parts. ID
is a frame id, txid:vout, or the beginning of a frame id of one's own messages as
inbox shows it.

--json prints the message as the server tells it (docs/api.md, "Messages") and
opened: media_type, text (when it is text), body (base64) or error.`,
		Example: "  metaim show 3f2a9c01be77",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, opened, err := readMessage(cmd, p, args[0])
			if err != nil {
				return err
			}
			if asJSON {
				r.asJSON = true
				return r.printJSON(*opened)
			}
			text := r.text(*opened)
			if opened.Err == nil && !opened.IsText() {
				text = fmt.Sprintf("(%s, %s, detected as %s: metaim save %s)", r.kind(opened.Message), size(len(opened.Body)), opened.MediaType, opened.Message.ID[:shortID])
			}
			return r.print(cmd.Context(), opened.Message, text)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	addPersonFlags(c)
	return c
}

func newSave(p *program) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "save ID",
		Short: "Save a message's content as a file",
		Long: `Saves the content of a message, decrypted and put together, under the file name
that its sender gave, made harmless, in this folder or the one that --output
names. Nothing is ever overwritten. The file is yours alone (mode 0600). - is
standard output.`,
		Example:     "  metaim save 3f2a9c01be77\n  metaim save 3f2a9c01be77 --output photos/",
		Args:        cobra.ExactArgs(1),
		Annotations: map[string]string{noJSON: "writes a file"},
		RunE: func(cmd *cobra.Command, args []string) error {
			r, opened, err := readMessage(cmd, p, args[0])
			if err != nil {
				return err
			}
			if opened.Err != nil {
				return fmt.Errorf("nothing was saved: %w", opened.Err)
			}
			if output == "-" {
				_, err := p.out.Write(opened.Body)
				return err
			}
			path, err := saveFile(output, *opened)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(p.out, "saved %s (%s, %s) from %s\n", path, opened.MediaType, size(len(opened.Body)), r.Label(r.party(opened.Message)))
			return err
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "file or folder to save in; - is standard output")
	addPersonFlags(c)
	return c
}

// readMessage finds, verifies, opens and puts together one message.
func readMessage(cmd *cobra.Command, p *program, id string) (*reader, *messenger.Opened, error) {
	ctx := cmd.Context()
	u, err := connect(cmd, p)
	if err != nil {
		return nil, nil, err
	}
	r, err := u.newReader(false, true)
	if err != nil {
		return nil, nil, err
	}
	m, err := r.find(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	if m.Encryption != improtocol.Plain {
		if err := r.unlock(); err != nil {
			return nil, nil, err
		}
	}
	opened, err := r.open(ctx, m)
	switch {
	case err != nil:
		return nil, nil, err
	case opened.Verified != nil:
		return nil, nil, fmt.Errorf("the message isn't what it says: %w", opened.Verified)
	}
	return r, opened, nil
}

// open opens a message, whole.
func (r *reader) open(ctx context.Context, m client.Message) (*messenger.Opened, error) {
	opened := r.opener.Open(m)
	if opened.Parts == nil || opened.Verified != nil {
		return &opened, nil
	}
	g, err := r.Gather(ctx, m)
	if err != nil {
		return nil, err
	}
	opened = r.opener.OpenWhole(g)
	return &opened, nil
}

const (
	shortest = 6    // digits of an id that are looked for
	newest   = 1000 // messages of each key that they are looked for in
)

// find asks for a message by its id, or by the beginning of it among the newest
// messages of the keys of this machine.
func (r *reader) find(ctx context.Context, id string) (client.Message, error) {
	short := strings.ToLower(id)
	if len(short) < shortest || len(short) >= 64 || strings.Trim(short, "0123456789abcdef") != "" {
		return r.ask(ctx, id)
	}
	keys, err := r.ring.store.List()
	if err != nil {
		return client.Message{}, err
	}
	found := map[string]bool{}
	for _, k := range keys {
		seen := 0
		for m, err := range r.Newest(ctx, client.MessageQuery{Address: r.Network.Address(k.KeyHash)}) {
			if err != nil {
				return client.Message{}, err
			}
			if strings.HasPrefix(m.ID, short) {
				found[m.ID] = true
			}
			if seen++; seen == newest {
				break
			}
		}
	}
	switch len(found) {
	case 0:
		return client.Message{}, fmt.Errorf("no id among the newest %d messages of the keys here begins with %s: give the whole id", newest, short)
	case 1:
		for id := range found {
			return r.ask(ctx, id)
		}
	}
	return client.Message{}, fmt.Errorf("the ids of %d messages begin with %s: give more of it", len(found), short)
}

func (r *reader) ask(ctx context.Context, id string) (client.Message, error) {
	reply, err := r.Client.Message(ctx, id)
	var problem *client.Problem
	switch {
	case errors.As(err, &problem) && problem.Code == client.CodeNotFound:
		return client.Message{}, fmt.Errorf("there is no message %q", id)
	case err != nil:
		return client.Message{}, err
	case len(id) == 64 && reply.ID != strings.ToLower(id):
		return client.Message{}, errors.New("the server told another message than the one asked for")
	}
	return reply.Message, nil
}

// saveFile writes the content of a message into a new file. Without a path, or
// with a folder's, the sender's file name is made harmless; it never leads out of
// the folder.
func saveFile(output string, o messenger.Opened) (string, error) {
	dir, name := ".", ""
	info, err := os.Stat(output)
	switch {
	case output == "" || err == nil && info.IsDir():
		if output != "" {
			dir = output
		}
		name = messenger.SafeFileName(o.Message.OtherMap[improtocol.OtherName], o.Message.ID, o.MediaType)
	case strings.HasSuffix(output, string(filepath.Separator)):
		return "", fmt.Errorf("there is no folder %s", output)
	default:
		dir, name = filepath.Dir(output), filepath.Base(output)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	path := filepath.Join(dir, name)
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("%s is there already and is left alone: give another with --output", path)
	}
	if err != nil {
		return "", err
	}
	_, err = f.Write(o.Body)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return "", errors.Join(err, root.Remove(name))
	}
	return path, nil
}
