// Package signer holds keys and coins, and builds and signs transactions with
// them. It has no network code: signer/broadcast submits what is built here.
//
//   - A [Key] is made by [NewKey] or read from a person's text by [ParseSecret].
//   - A [Keystore] keeps keys in one file that a passphrase encrypts.
//   - A [Wallet] tracks the coins of keys from the raw transactions that it is
//     shown, and [Wallet.Build] spends them: its own change at once, so that
//     messages go out in bursts without asking anyone.
//
// Amounts are in satoshis, sizes in bytes. The libraries that hold keys and
// build transactions (go-bk, go-bt) have faults; each that could reach us is
// guarded in one place here, and guard_test.go shows fault and guard side by
// side. docs/spec, "Keys, transactions, fees", has the rules.
package signer
