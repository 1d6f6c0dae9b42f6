package index

// What the tests of this package, which stand outside it, look at inside.
var StateHash = stateHash
