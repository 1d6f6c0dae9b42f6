// Package e2e holds the tests of the whole: the built program, as a user runs it,
// beside real nodes. Servers, devnets and demos are child processes; what they
// said is printed when a test fails.
//
// METAIM_LONG=1 repeats what depends on chance, kills for one, many times.
package e2e
