// Package gatewaytest runs the gateway as what it is, a process, and speaks to it byte for byte: for tests that meet
// it over the wire only.
//
// [Build] compiles it, [Start] runs it on free loopback ports until the test ends, [Process] tells what it costs
// (memory, descriptors, processor time) and counts, [Client] says what a test wants, right or wrong. Only the process
// that was started here is signalled, by its pid.
package gatewaytest
