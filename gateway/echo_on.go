//go:build conformance

package main

// echoGroup is a part of the flag table that the shipped binary does not have.
func echoGroup(cfg *config) []flagGroup {
	return []flagGroup{{"Conformance", []flagRow{
		{name: "echo", bind: yes(&cfg.server.Echo), trades: "send every message back instead of carrying it out, for suites that judge echo servers"},
	}}}
}
