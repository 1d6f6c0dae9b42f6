package chainwatch

import (
	"testing"

	"github.com/metaim/metaim/improtocol/frame"
)

func TestGenesisHashes(t *testing.T) {
	for network, want := range map[frame.Network]string{
		frame.Main:    "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
		frame.Test:    "000000000933ea01ad0ee984209779baaec3ced90fa3f408719526f8d77f4943",
		frame.Regtest: "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206",
	} {
		if got := ParamsOf(network).Genesis.Hash().String(); got != want {
			t.Errorf("%s: genesis %s, want %s", network, got, want)
		}
	}
}
