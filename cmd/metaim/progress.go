package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// A progress is a bar with rate and time left, on a terminal only, for what takes
// longer than two seconds.
type progress struct {
	w     io.Writer // nil: nothing is drawn
	what  string
	start time.Time
	drawn bool
}

func newProgress(p *program, what string) *progress {
	bar := &progress{what: what, start: time.Now()}
	if f, ok := p.err.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		bar.w = f
	}
	return bar
}

const barWidth = 30

func (b *progress) draw(done, total int64) {
	passed := time.Since(b.start)
	if b.w == nil || passed < 2*time.Second || total <= 0 {
		return
	}
	done = min(max(done, 0), total)
	full := int(done * barWidth / total)
	rate := float64(done) / passed.Seconds()
	left := "?"
	if rate > 0 {
		left = time.Duration(float64(total-done) / rate * float64(time.Second)).Round(time.Second).String()
	}
	fmt.Fprintf(b.w, "\r\x1b[K[%s%s] %d/%d %s, %.0f/s, %s left", strings.Repeat("=", full), strings.Repeat(" ", barWidth-full),
		done, total, b.what, rate, left)
	b.drawn = true
}

// end takes the bar away.
func (b *progress) end() {
	if b.drawn {
		fmt.Fprint(b.w, "\r\x1b[K")
	}
}
