//go:build !conformance

package main

func echoGroup(*config) []flagGroup { return nil }
