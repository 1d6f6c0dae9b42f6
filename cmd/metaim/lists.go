package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// A table prints rows with aligned columns under a dim head.
type table struct {
	program *program
	right   []bool // columns of numbers
	rows    [][]string
}

// table makes one; a ">" in front of a column's name aligns it to the right.
func (p *program) table(columns ...string) *table {
	t := &table{program: p}
	var head []string
	for _, name := range columns {
		bare, right := strings.CutPrefix(name, ">")
		head = append(head, bare)
		t.right = append(t.right, right)
	}
	t.rows = [][]string{head}
	return t
}

// row adds a row: one text for each column, safe to print.
func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) print() error {
	width := make([]int, len(t.right))
	for _, row := range t.rows {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	s := t.program.style()
	for n, row := range t.rows {
		var line strings.Builder
		for i, cell := range row {
			space := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if t.right[i] {
				cell, space = space+cell, ""
			}
			line.WriteString(cell + space + "  ")
		}
		text := strings.TrimRight(line.String(), " ")
		if n == 0 {
			text = s.dim(text)
		}
		if _, err := fmt.Fprintln(t.program.out, text); err != nil {
			return err
		}
	}
	return nil
}

var errDeclined = errors.New("nothing was done")

// canAsk tells whether standard input is a terminal.
func (p *program) canAsk() bool {
	f, ok := p.in.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// agree asks before something that can't be taken back. yes is that of --yes.
// Where nobody can be asked it fails, and so it does when the answer isn't yes.
func (p *program) agree(question string, yes bool) error {
	if yes {
		return nil
	}
	if !p.canAsk() {
		return usagef("nobody is there to be asked: give --yes to do it")
	}
	fmt.Fprintf(p.err, "%s [y/N] ", question)
	answer, err := bufio.NewReader(io.LimitReader(p.in, 100)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errDeclined
}
