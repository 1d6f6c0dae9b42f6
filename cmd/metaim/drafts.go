package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/messenger"
)

const maxInput = messenger.MaxBody // bytes of a message

// readDrafts reads what is to be sent: argument, standard input or file.
func readDrafts(p *program, f sendFlags, args []string) ([]messenger.Draft, error) {
	if f.file != "" {
		if len(args) > 0 || f.lines {
			return nil, usagef("--file goes with no text")
		}
		d, err := readFile(p, f.file, f.kind)
		return []messenger.Draft{d}, err
	}
	kind := f.kind
	if kind == "" {
		kind = improtocol.Text
	}
	if f.lines {
		return readLines(p.in, kind)
	}
	if len(args) == 1 && args[0] != "-" {
		return []messenger.Draft{{Body: []byte(args[0]), Type: kind}}, nil
	}
	body, err := readAll(p.in, "standard input")
	if err != nil {
		return nil, err
	}
	return []messenger.Draft{{Body: bytes.TrimSuffix(body, []byte("\n")), Type: kind}}, nil
}

func readLines(r io.Reader, kind string) (drafts []messenger.Draft, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxInput)
	for lines.Scan() {
		drafts = append(drafts, messenger.Draft{Body: bytes.Clone(lines.Bytes()), Type: kind})
	}
	return drafts, lines.Err()
}

func readAll(r io.Reader, what string) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	if err == nil && len(body) > maxInput {
		err = tooLarge(what)
	}
	return body, err
}

func tooLarge(what string) error {
	return fmt.Errorf("%s holds over %s, the most that a message may have", what, size(maxInput))
}

func readFile(p *program, name, kind string) (messenger.Draft, error) {
	file, err := os.Open(name)
	if err != nil {
		return messenger.Draft{}, err
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return messenger.Draft{}, err
	case info.IsDir():
		return messenger.Draft{}, fmt.Errorf("%s is a folder", name)
	case info.Size() > maxInput:
		return messenger.Draft{}, tooLarge(name)
	}
	body, err := readAll(file, name)
	if err != nil {
		return messenger.Draft{}, err
	}
	if kind == "" {
		var warning string
		if kind, warning = messenger.DetectFile(name, body); warning != "" {
			fmt.Fprintf(p.err, "warning: %s\n", warning)
		}
	}
	return messenger.Draft{Body: body, Type: kind, FileName: filepath.Base(name)}, nil
}
