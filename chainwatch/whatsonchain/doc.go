// Package whatsonchain follows the chain through WhatsOnChain, without a node:
// [New] returns a [chainwatch.Source].
//
// The service answers three questions a second to who shows no key, and gives at
// most twenty transactions in one answer. That is enough to follow the tip of a
// chain whose blocks are small, and of any chain from a height on that isn't far
// back; a block of a million transactions takes 50,000 questions.
//
// Headers come in bulk: the newest hundred as they are on the wire, which is the one
// question asked while nothing happens, and older ones from files of up to 10,000.
// Where the service has neither they are asked for one by one. A block is put
// together from its list of ids, in pages where it is long, and from transactions
// that are asked for in the order of the list. Each is compared with its id, the
// header with the block's hash, and the follower folds all up to the Merkle root
// that the header has: what isn't the block doesn't get through, and nothing can be
// left out. A service that is caught is named, and nothing is asked of it for a
// minute. What it keeps back, that there is a longer branch or a newer block, nobody
// notices who asks no one else.
//
// Of a block no more is held than a page of ids and as many transactions as fit
// into Config.Concurrency answers.
//
// It delivers no unconfirmed transactions: the service has no stream of them, and
// within its limits the mempool can't be read. So a message appears when a block
// has it, or when it is handed to one's own server.
package whatsonchain
