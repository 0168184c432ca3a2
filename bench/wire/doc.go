// Package wire is what bench says and hears over a socket: upgrade requests, frames, the stamp inside a publication, and
// the raw calls that write and read them. It knows no connection and keeps nothing.
package wire
