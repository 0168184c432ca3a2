// Package host looks at the machine that bench runs on and at its processes: what they use, where they run, what they
// may open, and what memory there is.
package host
