package junglebus

import (
	"google.golang.org/protobuf/encoding/protowire"
)

// What the service sends over a WebSocket: Centrifugo's protocol, version 2, in
// protobuf form, and in its publications what JungleBus has to say. Only the
// fields that are used are read.

// Codes of the control channel.
const (
	codeBlockDone = 200
	codeReorg     = 300
)

// A told is a transaction as the service tells of it.
type told struct {
	id, block string
	height    uint32
	raw       []byte
	merkle    []byte
}

// A control is a message of the control channel.
type control struct {
	code  uint64
	block uint64 // a height
	count uint64 // transactions that matched in it
}

// A publication is what was published in a channel.
type publication struct {
	channel string
	data    []byte
	offset  uint64 // in the channel; 0: the channel has none
}

// A reply is a frame from the server: the answer to a command, a push, or neither,
// which is a ping.
type reply struct {
	id         uint64
	failed     string // why the command was refused
	ping       uint64 // seconds between pings, of the answer to connect
	epoch      string // of the channel, of the answer to subscribe
	offset     uint64 // of the channel
	recovered  bool
	missed     []publication // what was missed, of the answer to subscribe
	pub        *publication
	disconnect string // why the server ends the connection
	channel    string // of the push
	left       bool   // the server ended the subscription
	empty      bool
}

// fields calls yield with each field of a message; numbers come in n, bytes in b.
func fields(m []byte, yield func(field protowire.Number, n uint64, b []byte)) error {
	for len(m) > 0 {
		field, kind, size := protowire.ConsumeTag(m)
		if size < 0 {
			return errAnswer
		}
		m = m[size:]
		var n uint64
		var b []byte
		switch kind {
		case protowire.VarintType:
			n, size = protowire.ConsumeVarint(m)
		case protowire.BytesType:
			b, size = protowire.ConsumeBytes(m)
		default:
			size = protowire.ConsumeFieldValue(field, kind, m)
		}
		if size < 0 {
			return errAnswer
		}
		m = m[size:]
		yield(field, n, b)
	}
	return nil
}

func readTold(m []byte) (t told, err error) {
	err = fields(m, func(field protowire.Number, n uint64, b []byte) {
		switch field {
		case 1:
			t.id = string(b)
		case 2:
			t.block = string(b)
		case 3:
			t.height = uint32(n)
		case 6:
			t.raw = b
		case 7:
			t.merkle = b
		}
	})
	return t, err
}

func readControl(m []byte) (c control, err error) {
	err = fields(m, func(field protowire.Number, n uint64, _ []byte) {
		switch field {
		case 1:
			c.code = n
		case 4:
			c.block = n
		case 5:
			c.count = n
		}
	})
	return c, err
}

func readPublication(channel string, m []byte) (p publication, err error) {
	p.channel = channel
	err = fields(m, func(field protowire.Number, n uint64, b []byte) {
		switch field {
		case 4:
			p.data = b
		case 6:
			p.offset = n
		}
	})
	return p, err
}

func readReply(m []byte) (r reply, err error) {
	r.empty = len(m) == 0
	var push, connect, subscribe []byte
	err = fields(m, func(field protowire.Number, n uint64, b []byte) {
		switch field {
		case 1:
			r.id = n
		case 2:
			r.failed = text(b, 2)
		case 4:
			push = b
		case 5:
			connect = b
		case 6:
			subscribe = b
		}
	})
	if err == nil && push != nil {
		err = r.readPush(push)
	}
	if err == nil && connect != nil {
		err = fields(connect, func(field protowire.Number, n uint64, _ []byte) {
			if field == 7 {
				r.ping = n
			}
		})
	}
	if err == nil && subscribe != nil {
		err = r.readSubscribed(subscribe)
	}
	return r, err
}

// text returns a text field of a message, and something where there is none.
func text(m []byte, which protowire.Number) string {
	s := "no reason given"
	_ = fields(m, func(field protowire.Number, _ uint64, b []byte) {
		if field == which {
			s = string(b[:min(len(b), 200)])
		}
	})
	return s
}

func (r *reply) readPush(m []byte) error {
	var pub []byte
	err := fields(m, func(field protowire.Number, _ uint64, b []byte) {
		switch field {
		case 2:
			r.channel = string(b)
		case 4:
			pub = b
		case 6:
			r.left = true
		case 11:
			r.disconnect = text(b, 2)
		}
	})
	if err != nil || pub == nil {
		return err
	}
	p, err := readPublication(r.channel, pub)
	r.pub = &p
	return err
}

func (r *reply) readSubscribed(m []byte) error {
	var wrong error
	err := fields(m, func(field protowire.Number, n uint64, b []byte) {
		switch field {
		case 6:
			r.epoch = string(b)
		case 7:
			p, err := readPublication("", b)
			r.missed = append(r.missed, p)
			wrong = err
		case 8:
			r.recovered = n != 0
		case 9:
			r.offset = n
		}
	})
	if err == nil {
		err = wrong
	}
	return err
}

// A place is how far a channel was read.
type place struct {
	epoch  string
	offset uint64
	known  bool
}

func number(b []byte, field protowire.Number, n uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), n)
}

func piece(b []byte, field protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), value)
}

// connectCommand is the first command of a connection.
func connectCommand(token string) []byte {
	return command(1, 4, piece(piece(nil, 1, []byte(token)), 4, []byte("metaim")))
}

// subscribeCommand asks for a channel, from a place on where one is known.
func subscribeCommand(id uint64, channel string, from place) []byte {
	m := number(piece(nil, 1, []byte(channel)), 10, 1)
	if from.known {
		m = number(piece(number(m, 3, 1), 6, []byte(from.epoch)), 7, from.offset)
	}
	return command(id, 5, m)
}

// command frames a command with its length.
func command(id uint64, field protowire.Number, m []byte) []byte {
	return protowire.AppendBytes(nil, piece(number(nil, 1, id), field, m))
}
