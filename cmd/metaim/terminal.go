package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/metaim/metaim/internal/safetext"
	"github.com/metaim/metaim/signer"
	"golang.org/x/term"
)

// A style colours text on a terminal, and leaves it alone elsewhere.
type style struct{ on bool }

func (p *program) style() style {
	f, ok := p.out.(*os.File)
	return style{on: ok && p.getenv("NO_COLOR") == "" && p.getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))}
}

func (s style) paint(code, text string) string {
	if !s.on {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s style) bold(t string) string   { return s.paint("1", t) }
func (s style) dim(t string) string    { return s.paint("2", t) }
func (s style) green(t string) string  { return s.paint("32", t) }
func (s style) yellow(t string) string { return s.paint("33", t) }
func (s style) red(t string) string    { return s.paint("31", t) }

// clock writes Unix milliseconds as local time.
func clock(milliseconds int64) string {
	return time.UnixMilli(milliseconds).Format("2006-01-02 15:04:05")
}

// size writes a number of bytes for people.
func size(n int) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	if n < 1_000_000 {
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

// printJSON prints a value as one line of JSON. Strangers' text in it doesn't reach
// the terminal raw.
func (p *program) printJSON(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = p.out.Write(append(safetext.JSON(line), '\n'))
	return err
}

// readHex reads one raw transaction in hexadecimal from standard input.
func readHex(p *program) ([]byte, error) {
	const most = 20 << 20
	text, err := io.ReadAll(io.LimitReader(p.in, most))
	if err != nil {
		return nil, err
	}
	if len(text) == most {
		return nil, fmt.Errorf("standard input holds over %s", size(most))
	}
	raw, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, errors.New("standard input is not a transaction in hexadecimal")
	}
	return raw, signer.CheckRawTransaction(raw)
}
