package seal_test

import (
	"fmt"

	"github.com/metaim/metaim/improtocol/seal"
)

// Bob publishes a key; Alice encrypts to it with the strongest type that he can
// read; Bob opens the message.
func Example() {
	secret, err := seal.NewHPKE()
	if err != nil {
		panic(err)
	}
	public, _ := secret.Published()
	record := seal.KeyRecord(public) // the body of his message to himself

	published, err := seal.ParsePublished(record)
	if err != nil {
		panic(err)
	}
	to := []seal.Recipient{{Label: "bob", Published: []seal.Published{published}}}
	encryption, err := seal.Strongest(to)
	if err != nil {
		panic(err)
	}
	bodies, err := seal.Encrypt(encryption, []byte("meet me at the usual place"), to, nil)
	if err != nil {
		panic(err)
	}

	var keys seal.Keys
	keys.Add(secret)
	plain, err := keys.Decrypt(encryption, bodies[0])
	fmt.Println(encryption, string(plain), err)
	// Output: HPKE meet me at the usual place <nil>
}
