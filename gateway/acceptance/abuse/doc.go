// Package abuse throws the threats T1 to T31 at a running gateway and judges every answer.
//
// The gateway is a process of its own and is met over the wire only. One test function stands for each threat and is
// named for it; its subtests are the cases. While an attack runs, a bystander, one client that behaves, pings ten
// times a second and subscribes once a second: each of its answers must come within a second, a fresh client must be
// served afterwards, and the gateway's memory must stay within a bound.
//
// There are only tests here: go test ./gateway/acceptance/abuse at a scale that takes seconds, make abuse (-full) at that of the
// list.
package abuse
