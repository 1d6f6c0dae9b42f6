package main

import (
	"strings"
	"testing"

	"rsc.io/qr"
)

// TestHalfBlocks reads the drawn code back, module by module.
func TestHalfBlocks(t *testing.T) {
	for _, text := range []string{
		"", "bitcoin:mfWxJ45yp2SFn7UciZyNpvDKrzbhyfKrY8",
		"bitcoin:mfWxJ45yp2SFn7UciZyNpvDKrzbhyfKrY8?amount=20999999.99999999", strings.Repeat("x", 500),
	} {
		drawn, err := halfBlocks(text)
		if err != nil {
			t.Fatal(err)
		}
		code, err := qr.Encode(text, qr.M)
		if err != nil {
			t.Fatal(err)
		}
		light := readHalfBlocks(t, drawn)
		side := code.Size + 2*quietZone
		if len(light) < side || len(light) > side+1 {
			t.Fatalf("%q: %d rows, want %d", text, len(light), side)
		}
		for y := range side {
			if len(light[y]) != side {
				t.Fatalf("%q: row %d has %d modules, want %d", text, y, len(light[y]), side)
			}
			for x := range side {
				// Beyond the code nothing is black: that is the quiet zone.
				if want := !code.Black(x-quietZone, y-quietZone); light[y][x] != want {
					t.Fatalf("%q: module %d, %d is light: %t, want %t", text, x, y, light[y][x], want)
				}
			}
		}
	}
	if _, err := halfBlocks(strings.Repeat("x", 10_000)); err == nil {
		t.Error("10,000 bytes fit in a code")
	}
}

// readHalfBlocks returns which modules are drawn, by row.
func readHalfBlocks(t *testing.T, drawn string) (light [][]bool) {
	t.Helper()
	for line := range strings.Lines(drawn) {
		var top, bottom []bool
		for _, r := range strings.TrimSuffix(line, "\n") {
			if !strings.ContainsRune("█▀▄ ", r) {
				t.Fatalf("the letter %q is drawn", r)
			}
			top, bottom = append(top, r == '█' || r == '▀'), append(bottom, r == '█' || r == '▄')
		}
		light = append(light, top, bottom)
	}
	return light
}

func TestPaymentURI(t *testing.T) {
	for _, tt := range []struct {
		satoshis uint64
		want     string
	}{
		{0, "bitcoin:x"}, {1, "bitcoin:x?amount=0.00000001"}, {5000, "bitcoin:x?amount=0.00005"},
		{100_000_000, "bitcoin:x?amount=1"}, {2_100_000_000_000_000, "bitcoin:x?amount=21000000"}, {1_000_000_010, "bitcoin:x?amount=10.0000001"},
	} {
		if got := paymentURI("x", tt.satoshis); got != tt.want {
			t.Errorf("%d satoshis: got %q, want %q", tt.satoshis, got, tt.want)
		}
	}
}

func TestGrouped(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", 100000: "100,000"} {
		if got := grouped(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}
