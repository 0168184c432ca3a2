// Package fanouttest has what the tests of fanout and of the packages above it share: [Addr] returns an address that only
// one test uses, and [Eventually] waits for a condition. It does not import fanout or a package above it, so every test
// can import it.
package fanouttest
