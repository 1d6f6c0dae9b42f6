package simulate

import (
	"fmt"
	"strings"

	"pgregory.net/rapid"

	"github.com/metaim/metaim/internal/simchain"
)

// An Op is one step of a scenario. Every number means something whatever came
// before, by counting round, so that a scenario is still one after any part of
// it was taken out.
type Op struct {
	Kind   int
	Frames []FrameSpec // of a transaction, or of the coinbases of blocks
	Pays   int         // a transaction: bit set of who is paid
	Order  int         // a transaction: how its outputs are turned round
	Payer  int         // a transaction: who pays; the last one has no P2PKH input
	Change bool        // a transaction: the last output goes back to the payer
	Fees   int         // a transaction: bit 0 pays for names, bit 1 for peers
	Coin   int         // a transaction: which coin it spends
	Picks  []int       // transactions or blocks, by how long ago they were made
	Back   int         // blocks: how far below the highest they begin
	Count  int         // blocks: how many
	Clock  int         // blocks: how time goes on
	Whole  bool        // blocks: the first takes all transactions that it can
	Fault  int         // of the source, or of the store
	After  int         // questions or commits before the fault
}

// The kinds of steps.
const (
	opTransaction = iota
	opAnnounce    // transactions reach the follower from a mempool
	opMine        // blocks, announced or not
	opTips        // the nodes have other tips
	opSync        // the follower asks, of a source that may fail
	opCrash       // the store fails, or the process dies, at a coming commit
	opEvict       // transactions leave the mempool
	opRestart     // the process ends and starts again
	opKinds
)

// A Script is a scenario: steps that build a chain and let an index follow it.
type Script []Op

func pick(t *rapid.T, n int) int { return rapid.IntRange(0, n-1).Draw(t, "n") }

// often draws 0 most of the time, else 1 to n-1.
func often(t *rapid.T, n int) int {
	if rapid.IntRange(0, 9).Draw(t, "rare") < 7 {
		return 0
	}
	return pick(t, n)
}

// odds draws a number of a list in which numbers may stand more than once.
func odds(t *rapid.T, list ...int) int { return rapid.SampledFrom(list).Draw(t, "of") }

func drawFrame(t *rapid.T) FrameSpec {
	s := FrameSpec{
		Kind: odds(t, kindMessage, kindMessage, kindMessage, kindNamed, kindNamed, kindRegister, kindRegister, kindRegister,
			kindRegister, kindTransfer, kindTransfer, kindDelete, kindDelete, kindPeer, kindPeer, kindPeerDelete,
			kindAgain, kindAgain, kindMalformed, kindForeign),
		Who: odds(t, 0, 0, 0, 0, 1, 1, 2, 3, 4), To: pick(t, 3), Name: odds(t, 0, 0, 0, 1, 2),
		Stamp: odds(t, 0, 1, 2, 0, 1, 2, 3, 4, 5, 6, stampNext, stampNext, stampNext, stampNext, stampNext, stampNext, stampNext),
	}
	s.Signer, s.Other = odds(t, 0, 0, 0, 0, 0, 0, 0, 0, 1, peopleCount-1), often(t, otherCount)
	s.Signature, s.Script = often(t, simchain.SignatureForms), often(t, int(simchain.ScriptForms))
	return s
}

// mostFrames is how many frames a transaction has at most.
const mostFrames = 3

// drawFrames draws the frames of a transaction: any, or one name's story.
func drawFrames(t *rapid.T) []FrameSpec {
	if pick(t, 5) < 4 {
		return rapid.SliceOfN(rapid.Custom(drawFrame), 1, mostFrames).Draw(t, "frames")
	}
	who := odds(t, 0, 0, 1)
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) FrameSpec {
		return FrameSpec{Kind: odds(t, kindRegister, kindRegister, kindDelete, kindTransfer, kindNamed), Who: who, Stamp: stampNext}
	}), mostFrames, mostFrames).Draw(t, "story")
}

func drawOp(t *rapid.T) Op {
	op := Op{Kind: odds(t, opTransaction, opTransaction, opTransaction, opTransaction, opTransaction, opAnnounce, opAnnounce, opAnnounce,
		opMine, opMine, opMine, opMine, opSync, opSync, opSync, opSync, opTips, opCrash, opEvict, opRestart)}
	switch op.Kind {
	case opTransaction:
		op.Frames = drawFrames(t)
		op.Pays, op.Order, op.Payer = pick(t, 1<<peopleCount), pick(t, 4), pick(t, peopleCount+1)
		op.Change, op.Fees = rapid.Bool().Draw(t, "change"), odds(t, 3, 3, 3, 3, 3, 3, 3, 3, 1, 2, 0)
		op.Coin = odds(t, 0, 0, 0, 1, 2, 3, 4, 5)
	case opAnnounce, opEvict:
		op.Picks = rapid.SliceOfN(rapid.IntRange(0, 12), 1, 6).Draw(t, "picks")
	case opMine:
		op.Picks = rapid.SliceOfN(rapid.IntRange(0, 12), 0, 6).Draw(t, "picks")
		op.Back, op.Clock = odds(t, 0, 0, 0, 1, 1, 2, 3, 5), pick(t, clocks)
		op.Count = 1 + op.Back + pick(t, 3) - odds(t, 0, 0, 1)
		op.Whole = rapid.Bool().Draw(t, "whole")
		if pick(t, 6) == 5 {
			op.Frames = []FrameSpec{drawFrame(t)}
		}
	case opTips:
		op.Picks = rapid.SliceOfN(rapid.IntRange(0, 8), 1, 2).Draw(t, "tips")
	case opSync:
		op.Fault, op.After = odds(t, append(make([]int, 6), sourceFaults...)...), pick(t, 3)
	case opCrash:
		op.Fault, op.After = pick(t, storeFaults), pick(t, 3)
	}
	return op
}

var sourceFaults = func() (list []int) {
	for f := range int(simchain.Faults) {
		list = append(list, f)
	}
	return list
}()

// Scenarios draws scripts.
var Scenarios = rapid.Custom(func(t *rapid.T) Script {
	return rapid.SliceOfN(rapid.Custom(drawOp), 8, 40).Draw(t, "script")
})

// String writes the scenario, one step on each line.
func (s Script) String() string {
	var b strings.Builder
	for i, op := range s {
		fmt.Fprintf(&b, "%2d  %s\n", i, op)
	}
	return b.String()
}

func (op Op) String() string {
	var frames []string
	for _, f := range op.Frames {
		frames = append(frames, f.describe())
	}
	list := strings.Join(frames, " ")
	switch op.Kind {
	case opTransaction:
		return fmt.Sprintf("transaction %s pays %05b turned %d payer %d change %v fees %d coin %d", list, op.Pays, op.Order, op.Payer, op.Change, op.Fees, op.Coin)
	case opAnnounce:
		return fmt.Sprintf("announce %v", op.Picks)
	case opMine:
		return fmt.Sprintf("mine %d from %d below the highest, clock %d, all %v, transactions %v, coinbase %s", op.Count, op.Back, op.Clock, op.Whole, op.Picks, list)
	case opTips:
		return fmt.Sprintf("tips %v", op.Picks)
	case opSync:
		return fmt.Sprintf("sync with fault %d after %d", op.Fault, op.After)
	case opCrash:
		return fmt.Sprintf("store fault %d after %d", op.Fault, op.After)
	case opEvict:
		return fmt.Sprintf("evict %v", op.Picks)
	}
	return "restart"
}
