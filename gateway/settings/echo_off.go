//go:build !conformance

package settings

func echoGroup(*Settings) []flagGroup { return nil }
