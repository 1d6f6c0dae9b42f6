// Package p2p is a [chainwatch.Source] over the peer-to-peer protocol of
// Bitcoin: it needs nothing of a node but that it accepts connections.
//
// Several nodes are connected at once. Headers come from all of them, a block
// from whichever gives it, transactions from whoever announces them first.
// Blocks are streamed straight off the connection and never held whole.
//
// # Goroutines
//
// Run owns everything: for each node one that connects again and again, and for
// each connection a reader, a writer, one that asks for announced transactions
// and one that closes it; beside them the pump of the transaction queue and the
// clock that asks for lost transactions again. The reader of a connection stands
// still while somebody reads a block from it.
//
// # What is sent and what is not
//
// No message goes out that a node could dislike: no protoconf and no sendheaders
// (bsvd drops a peer for a message it doesn't know; announcements as headers
// would be mistaken for answers), mempool only to bsvd (the reference node drops
// whoever asks). The version message claims height -1: with 0 a young bsvd on
// regtest takes us for the peer to sync from, and then ignores its real peers.
// A getdata asks for at most 500 transactions, since bsvd adds to the ban score
// of a peer for more.
//
// Messages are framed here, not by go-wire: its reader allocates what a header
// claims before anything arrived, holds blocks whole and reads the extended
// header of messages over 4 GB from the wrong place. Nothing here goes through
// that reader, hence its global limit (wire.SetLimits) is left alone.
package p2p
