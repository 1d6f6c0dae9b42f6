// Package interop holds tests against programs that others wrote: what is
// encrypted and signed here is opened and verified by the npm packages @bsv/sdk
// and jose, and the other way round.
//
// The packages are installed once, by npm from its registry, in the versions of
// testdata/package-lock.json, into the user's cache folder. Without npm the tests
// fail; METAIM_SKIP_NPM=1 leaves them out.
package interop
