// Package junglebus follows the chain through a JungleBus service, without a node:
// [New] returns a [chainwatch.Source] that is also a [chainwatch.Selector].
//
// JungleBus streams the transactions that match a subscription, which its owner
// sets up at the service: by output type or context, so that all IM and N frames
// match. It has no whole blocks. So of each transaction the Merkle path is asked
// for, and the follower folds it up to a header whose work it checked: the service
// can't invent a message, move one to another block, or put them in another order.
// It can leave messages out and be late, and nobody would notice who asks no one
// else.
//
// Headers are put together from the fields that the service tells, and hashed: one
// that isn't what it is said to be doesn't get through.
//
// Two connections are made, as they are needed: one tells of new blocks,
// reorganisations (control code 300) and unconfirmed transactions, and stays; the
// other streams blocks from the height that is asked for on. What is lost of the
// first is asked for again from where it broke off; a service that doesn't keep it
// gives those messages when a block has them.
//
// docs/decisions/0011-without-a-node.md says why the client is ours.
package junglebus
