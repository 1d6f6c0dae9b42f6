package proof

import (
	"fmt"
	"strconv"
	"time"
)

// A Result is what a proof shows.
type Result struct {
	ID            string   `json:"id"`
	TxID          string   `json:"txid"`
	Output        uint32   `json:"vout"`
	Network       string   `json:"network"` // whose headers these are
	Source        string   `json:"source"`  // as signed: an address or a name
	Address       string   `json:"address"` // whose key signed
	Type          string   `json:"type"`
	Encryption    string   `json:"encryption"`
	TimeStamp     string   `json:"time_stamp"` // the sender's word
	Height        int32    `json:"height"`
	Block         string   `json:"block"`
	BlockTime     int64    `json:"block_time"`    // in the header, Unix seconds
	Confirmations int32    `json:"confirmations"` // this block and those after it, among the headers given
	From          int32    `json:"from"`          // height that the headers begin at
	WorkBits      int      `json:"work_bits"`     // 2 to the power of it: expected hashes for these blocks
	ChainWorkBits int      `json:"chain_work_bits"`
	Proved        []string `json:"proved"`     // in sentences
	NotProved     []string `json:"not_proved"` // what nobody can see from a proof and headers
}

// tell says in sentences what is proved. Texts of strangers are quoted.
func (r *Result) tell() {
	r.Proved = []string{
		fmt.Sprintf("Output %d of transaction %s carries the message %s.", r.Output, r.TxID, r.ID),
		fmt.Sprintf("The key of %s signed it: source, type, encryption, text, other information and time stamp.", r.Address),
		fmt.Sprintf("The transaction is in block %s: its Merkle path leads to the root in the block's header.", r.Block),
		fmt.Sprintf("That block stands at height %d of the headers given (%s, from block %d on): each follows the one before and has the work it claims.", r.Height, r.network(), r.From),
		fmt.Sprintf("With this block and those after it, %d in all, about 2^%d hashes were spent; somebody would have to spend as many to make a chain like this one without the message.", r.Confirmations, r.WorkBits),
		fmt.Sprintf("The block says that it was made at %s, which miners can move by about two hours; the message existed then.", time.Unix(r.BlockTime, 0).UTC().Format("2006-01-02 15:04 MST")),
	}
	r.NotProved = nil
	if r.Source != r.Address {
		r.NotProved = append(r.NotProved, fmt.Sprintf("That the name %s belonged to %s then: headers don't show who held a name. An index of the whole chain does.", strconv.QuoteToASCII(r.Source), r.Address))
	}
	r.NotProved = append(r.NotProved,
		fmt.Sprintf("That the headers given (about 2^%d hashes in all) are of the chain with the most work today: compare their last one with a source you trust.", r.ChainWorkBits),
		"That this was the first time the message stood in a block, and that no later one with the same content replaced it.",
		fmt.Sprintf("The time stamp %s: it is the sender's word.", r.TimeStamp),
	)
}

func (r *Result) network() string {
	if r.Network == "regtest" {
		return "regtest, a chain for tests that anybody can make"
	}
	return r.Network + " network"
}
