// Package gatewaytest runs the gateway as a process of its own, for tests that use it over the network only.
//
// [Build] compiles the gateway. [Start] runs it on free loopback ports until the test ends. [Process] measures it (memory,
// descriptors, processor time) and reads its metrics. [Client] sends any bytes that a test wants, right or wrong. Signals
// go only to the process that was started here.
package gatewaytest
