//go:build !conformance

package server

import "github.com/carillon-ws/carillon/protocol/http1"

// EchoConfig is part of Config. Only builds for conformance tests have something in it.
type EchoConfig struct{}

// dialect is the dialect that a request asks for, as dialects counts them.
func (*Config) dialect(req *http1.Request) uint8 {
	if req.Deflate {
		return dialectDeflated
	}
	return dialectPlain
}
