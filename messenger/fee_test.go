package messenger

import (
	"testing"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/signer"
)

// TestFeeRate: the server's word counts where it can be meant; what is too high is
// for the wallet to refuse.
func TestFeeRate(t *testing.T) {
	usual := signer.DefaultFeeRate
	for _, tt := range []struct {
		name string
		fee  *client.Fee
		want signer.FeeRate
	}{
		{"says nothing", nil, usual},
		{"less than usual", &client.Fee{Satoshis: 1, Bytes: 1000}, signer.FeeRate{Satoshis: 1, Bytes: 1000}},
		{"more than usual", &client.Fee{Satoshis: 500, Bytes: 1000}, signer.FeeRate{Satoshis: 500, Bytes: 1000}},
		{"nothing for nothing", &client.Fee{}, usual},
		{"nothing", &client.Fee{Bytes: 1000}, usual},
		{"for no bytes", &client.Fee{Satoshis: 1}, usual},
		{"almost nothing", &client.Fee{Satoshis: 1, Bytes: 1_000_000}, usual},
		{"more than a wallet pays", &client.Fee{Satoshis: 1 << 60, Bytes: 1}, signer.FeeRate{Satoshis: 1 << 60, Bytes: 1}},
	} {
		u := &Person{Info: &client.Info{Fee: tt.fee}}
		if got := u.FeeRate(); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
	if got := (&Person{}).FeeRate(); got != usual {
		t.Errorf("without an answer of the server: got %v, want %v", got, usual)
	}
}
