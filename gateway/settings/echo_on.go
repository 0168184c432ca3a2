//go:build conformance

package settings

// echoGroup is a part of the flag table that the shipped binary does not have.
func echoGroup(cfg *Settings) []flagGroup {
	return []flagGroup{{"Conformance", []flagRow{
		{name: "echo", bind: yes(&cfg.Server.Echo), usage: "send every message back instead of carrying it out, for suites that judge echo servers"},
	}}}
}
