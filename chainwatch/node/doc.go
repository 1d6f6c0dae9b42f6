// Package node is a [chainwatch.Source] over the RPC of one node: bsvd or svnode.
// Polling is the truth; ZMQ, which svnode has, only makes it faster.
//
// Blocks are streamed: over REST where the node has it, else out of the JSON of
// getblock. Headers are asked for one by one, a few at a time. The mempool is
// listed every Config.Poll and what is new in it fetched, so that a transaction
// is seen within a second with any node, and what left is known
// ([chainwatch.MempoolWatcher]).
//
// # Goroutines
//
// Run owns all: one that watches the best block and the node's health, one that
// watches the mempool, and one for each ZMQ address. Whoever reads Transactions
// slowly slows the last two down and nothing else; what ZMQ loses meanwhile, the
// next list of the mempool brings.
//
// # Differences of nodes
//
// Error codes, texts and what they mean are in internal/noderpc. bsvd has neither
// getchaintips nor ZMQ nor REST, opens a connection for each question and refuses
// more than ten clients unless told otherwise: hence Config.Concurrency is small,
// and a busy node is asked again. Only blocks of the node's best chain are
// offered as headers; that its branch has the most work is the follower's to
// check.
package node
