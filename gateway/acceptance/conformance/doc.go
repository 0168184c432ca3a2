// Package conformance runs the cases of the Autobahn test suite against a gateway that echoes.
//
// The suite itself is a Python 2 program that CI cannot install, so its published list of cases is written down here
// anew, with its numbers: framing (1), pings (2), reserved bits (3), opcodes (4), fragments (5), UTF-8 (6), closing
// (7), limits (9), auto-fragmentation (10) and compression (12, 13). Where the suite has a strict and a tolerated
// outcome, the strict one is wanted.
//
// The gateway is built with the tag conformance and run with -echo, which swaps the handler of messages and nothing
// else. There are only tests here: go test ./gateway/acceptance/conformance, with -full for all sizes and counts of the suite.
package conformance
