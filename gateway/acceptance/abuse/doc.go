// Package abuse attacks a running gateway with the threats T1 to T31 and judges every answer.
//
// The gateway is a process of its own, and the tests use it over the network only. Each threat has a test function with
// its number and name; its subtests are the cases. During an attack a bystander, which is a client that behaves, pings ten
// times a second and subscribes once a second. Each answer to it must come within a second. Afterwards a new client must
// be served. The gateway's memory must stay within a bound.
//
// There are only tests here. go test ./gateway/acceptance/abuse runs the attacks at a small scale, in seconds; make abuse
// (-full) runs them at the scale of the list.
package abuse
