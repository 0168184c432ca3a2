// Package fanouttest is what the tests of fanout share with the tests of everything that is built on it: [Addr], an
// address that only this test uses, and [Eventually], which waits for a condition. It imports neither fanout nor
// anything above it, so that every test can import it.
package fanouttest
