// Package conformance runs the cases of the Autobahn test suite with a gateway that echoes.
//
// The suite itself is a Python 2 program that CI cannot install. So its published cases are written here again, with
// their numbers: framing (1), pings (2), reserved bits (3), opcodes (4), fragments (5), UTF-8 (6), closing (7), limits (9),
// auto-fragmentation (10) and compression (12, 13). If the suite has a strict and a tolerated outcome, these tests want
// the strict one.
//
// The gateway is built with the tag conformance and runs with -echo, which replaces only the dialect of connections. There
// are only tests here: go test ./gateway/acceptance/conformance, with -full for all sizes and counts of the suite.
package conformance
