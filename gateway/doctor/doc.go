// Package doctor checks whether a host can hold a number of connections. For each limit of the kernel, of the container
// and of Redis it reports the value, the value that is needed and why, and the command that changes it.
//
// Its rules:
//
//   - It compares a value with what this many connections need, not with a list. Most defaults are enough, and it says so.
//   - It never asks to lower a value only because a list has a smaller one. The exceptions say what is gained (swappiness).
//   - Each threshold names its source. If the source is arithmetic, the arithmetic is written beside it.
//   - A value that cannot be read is reported as skipped. It is never guessed.
//
// scripts/tune-host.sh can change the part that is in [Settings]; a test compares the two tables. The package reads a
// [Host], which is a file system and a few functions, so that the tests can make up hosts for every check.
package doctor
