//go:build !conformance

package server

import "github.com/carillon-ws/carillon/protocol/websocket"

// EchoConfig is part of Config. Only builds for conformance tests have something in it.
type EchoConfig struct{}

func (*Config) echoes() bool { return false }

func (*loop) echo(*conn, websocket.Event) bool { return false }
