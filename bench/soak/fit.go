package main

import "fmt"

// A sample is what the server was seen to hold.
type sample struct {
	at          float64 // seconds since the start
	rss         float64 // bytes
	descriptors float64
	goroutines  float64
	queue       float64 // bytes that wait for subscribers
}

// growth fits a line through the second half of the samples, by least squares, and
// returns by how much it rises over that time, and the mean. The first half is for
// caches to fill.
func growth(samples []sample, of func(sample) float64) (rise, mean float64) {
	half := samples[len(samples)/2:]
	var t, v float64
	for _, s := range half {
		t += s.at
		v += of(s)
	}
	n := float64(len(half))
	t, mean = t/n, v/n
	var both, square float64
	for _, s := range half {
		both += (s.at - t) * (of(s) - mean)
		square += (s.at - t) * (s.at - t)
	}
	if square == 0 {
		return 0, mean
	}
	return both / square * (half[len(half)-1].at - half[0].at), mean
}

// What may rise in the second half. Memory: a twentieth, or 8 MiB where that is
// more. The collector lets the heap swing by as much between its rounds, and in 30
// minutes at 500 messages a second, of which the second half has 450,000, it finds
// what keeps 19 bytes for each; shorter runs find only larger leaks. Descriptors:
// sixteen, since so many connections to the node are kept and so many of the senders'
// come and go: from one look to the next they swing by as much, and a line through
// few samples swings with them. A leak has as many as there are requests.
const (
	risePart        = 0.05
	riseBytes       = 8 << 20
	riseDescriptors = 16
	fewest          = 6 // samples of which a line says anything
)

// checkFlat says what isn't flat.
func checkFlat(samples []sample) (report string, err error) {
	if len(samples) < fewest {
		return "", fmt.Errorf("%d samples are too few to tell whether anything grows", len(samples))
	}
	memory, mean := growth(samples, func(s sample) float64 { return s.rss })
	files, open := growth(samples, func(s sample) float64 { return s.descriptors })
	routines, running := growth(samples, func(s sample) float64 { return s.goroutines })
	bound := max(riseBytes, risePart*mean)
	report = fmt.Sprintf("second half: memory %.1f MiB, rises by %.1f (at most %.1f); descriptors %.0f, by %.1f (at most %d); goroutines %.0f, by %.1f",
		mean/(1<<20), memory/(1<<20), bound/(1<<20), open, files, riseDescriptors, running, routines)
	switch {
	case memory > bound:
		return report, fmt.Errorf("memory isn't flat: it rises by %.1f MiB", memory/(1<<20))
	case files > riseDescriptors:
		return report, fmt.Errorf("descriptors aren't flat: they rise by %.1f", files)
	}
	return report, nil
}
