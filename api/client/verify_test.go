package client_test

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"testing"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
)

func signed(t *testing.T, source string) client.Message {
	t.Helper()
	key := frame.PrivateKey{Scalar: [32]byte{31: 7}}
	im := improtocol.Message{Source: source, Type: "text", Encryption: "plain", Body: []byte("hello"), Other: "to=x&to=y", TimeStamp: "1"}
	if source == "" {
		im.Source = frame.Regtest.Address(key.KeyHash())
	}
	im.Sign(key)
	text := "hello"
	m := client.Message{
		ID: im.FrameID().String(), Source: im.Source, Address: frame.Regtest.Address(key.KeyHash()), Type: im.Type,
		Encryption: im.Encryption, Body: im.Body, Text: &text, Other: im.Other, OtherMap: map[string]string{"to": "x"},
		TimeStamp: im.TimeStamp, Signature: im.Signature, PublicKey: hex.EncodeToString(key.PublicKey()),
	}
	b, err := json.Marshal(m) // as it comes from a server
	if err != nil {
		t.Fatal(err)
	}
	m = client.Message{}
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestVerify(t *testing.T) {
	other := frame.Regtest.Address(frame.KeyHash{1})
	lie := "lie"
	for _, test := range []struct {
		name   string
		source string
		change func(*client.Message)
		want   error
	}{
		{"an address's", "", func(*client.Message) {}, nil},
		{"a name's", "bob", func(*client.Message) {}, nil},
		{"without text and map", "", func(m *client.Message) { m.Text, m.OtherMap = nil, nil }, nil},
		{"another body", "", func(m *client.Message) { m.Body = []byte("hullo") }, client.ErrFrameID},
		{"another time stamp", "", func(m *client.Message) { m.TimeStamp = "2" }, client.ErrFrameID},
		{"another id", "", func(m *client.Message) { m.ID = m.ID[1:] }, client.ErrFrameID},
		{"brackets moved", "", func(m *client.Message) {
			m.Type, m.Encryption, m.Body = "text][plain", "hello", nil
		}, client.ErrFrameID},
		{"another address for a name", "bob", func(m *client.Message) { m.Address = other }, client.ErrSignature},
		{"another address for an address", "", func(m *client.Message) { m.Address = other }, client.ErrSource},
		{"no address", "bob", func(m *client.Message) { m.Address = "" }, client.ErrSignature},
		{"no signature", "", func(m *client.Message) { m.Signature = nil }, client.ErrSignature},
		{"another signature", "", func(m *client.Message) { m.Signature[5] ^= 1 }, client.ErrSignature},
		{"another text", "", func(m *client.Message) { m.Text = &lie }, client.ErrDerived},
		{"another map", "", func(m *client.Message) { m.OtherMap["to"] = "y" }, client.ErrDerived},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := signed(t, test.source)
			test.change(&m)
			if got := client.Verify(m, frame.Regtest); !errors.Is(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
	if err := client.Verify(signed(t, ""), frame.Main); err == nil {
		t.Error("a message of another network: got no error")
	}
}
