// Package doctor says whether a host can hold a number of connections: what each limit of the kernel, of the container
// and of Redis is, what it has to be and why, and the command that changes it.
//
// The rules it goes by:
//
//   - A value is judged by what this many connections need, not by a list: most defaults are fine, and are called so.
//   - Nothing is ever lowered because a list has a smaller number. The exceptions say what is gained (swappiness).
//   - Each threshold names its source. Where the source is arithmetic, the arithmetic is written beside it.
//   - What cannot be read is skipped and said, never guessed.
//
// [Settings] is the part that scripts/tune-host.sh can change; a test compares the two tables. The package reads a
// [Host], which is a file system and a few functions, so that every check is tested on made-up hosts.
package doctor
