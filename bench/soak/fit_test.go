package main

import (
	"strings"
	"testing"
)

func TestCheckFlat(t *testing.T) {
	const mb = 1 << 20
	for _, test := range []struct {
		name    string
		rss     func(i int) float64
		files   func(i int) float64
		samples int
		err     string
	}{
		{"flat", func(int) float64 { return 100 * mb }, func(int) float64 { return 20 }, 100, ""},
		{"a saw", func(i int) float64 { return 100*mb + float64(i%7)*4*mb }, func(i int) float64 { return 20 + float64(i%3) }, 100, ""},
		{"descriptors swing", func(int) float64 { return 100 * mb }, func(i int) float64 { return 60 + float64(i*7%23) }, 31, ""},
		{"rises at first", func(i int) float64 { return float64(min(i, 50)) * 4 * mb }, func(int) float64 { return 20 }, 101, ""},
		{"falls", func(i int) float64 { return float64(200-i) * mb }, func(i int) float64 { return float64(200 - i) }, 100, ""},
		{"memory leaks", func(i int) float64 { return 100*mb + float64(i)*mb }, func(int) float64 { return 20 }, 100, "memory isn't flat: it rises by 49.0 MiB"},
		{"memory leaks a little", func(i int) float64 { return 100*mb + float64(i)*mb/5 }, func(int) float64 { return 20 }, 100, "memory isn't flat"},
		{"descriptors leak", func(int) float64 { return 100 * mb }, func(i int) float64 { return float64(20 + i/2) }, 100, "descriptors aren't flat"},
		{"too few", func(int) float64 { return 1 }, func(int) float64 { return 1 }, fewest - 1, "too few"},
	} {
		var samples []sample
		for i := range test.samples {
			samples = append(samples, sample{at: 10 * float64(i), rss: test.rss(i), descriptors: test.files(i)})
		}
		report, err := checkFlat(samples)
		if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: got %v (%s), want %q", test.name, err, report, test.err)
		}
	}
}
