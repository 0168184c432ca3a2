//go:build conformance

package settings

// echoGroup returns a part of the flag table that only a conformance build has.
func echoGroup(cfg *Settings) []flagGroup {
	return []flagGroup{{"Conformance", []flagRow{
		{name: "echo", bind: yes(&cfg.Server.Echo), usage: "send every message back instead of handling it, for test suites that need an echo server"},
	}}}
}
