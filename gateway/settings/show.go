package settings

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"text/tabwriter"
)

// hidden is shown in the place of a secret.
const hidden = "***"

// printHelp writes the commands, and the flags by group.
func printHelp(w io.Writer) {
	fmt.Fprint(w, `Carillon sends what is PUBLISHed in Redis to every WebSocket client that subscribed to that channel.

  gateway [serve] [flags]         run the gateway; without -redis it has an embedded Redis
  gateway demo [flags]            the same on loopback; it publishes a notification every 3 s for the demo page
  gateway publish CHANNEL DATA    send one notification ("gateway publish -h")
  gateway token -key FILE -sub ID make a token for development ("gateway token -h")
  gateway doctor -connections N   say what this host lacks for N connections ("gateway doctor -h")
  gateway healthcheck             ask a running gateway whether its loops turn; for containers
  gateway version                 print the version
`)
	cfg := &Settings{}
	fs := NewFlagSet(cfg)
	for _, g := range flagTable(cfg) {
		fmt.Fprintf(w, "\n%s\n", g.title)
		for _, row := range g.rows {
			fmt.Fprintf(w, "  -%-19s %s", row.name, row.usage)
			if d := row.shownDefault(fs); d != "" {
				fmt.Fprintf(w, " (default %s)", d)
			}
			fmt.Fprintln(w)
		}
	}
	fmt.Fprintln(w, `
A size is a number of bytes, or of KiB, MiB or GiB, as in 64KiB. A time is like 500ms, 30s or 5m.
Each flag has an environment variable: CARILLON_MAX_MESSAGE=64KiB is -max-message 64KiB. A flag wins over its variable.
A list in a variable has commas between its items. -print-config shows every value and where it came from.`)
}

// shownDefault returns the default for people to read; empty if the flag is off unless it is given.
func (row *flagRow) shownDefault(fs *flag.FlagSet) string {
	if row.unset != "" {
		return row.unset
	}
	switch d := fs.Lookup(row.name).DefValue; d {
	case "0", "0s", "false":
		return ""
	default:
		return d
	}
}

// setting is a flag with its present value.
type setting struct {
	row    flagRow
	value  string // without secrets
	origin string
}

// settings lists every setting; -print-config is none. If environ is nil, Go's own variables (GOGC) are not looked at.
func (cfg *Settings) settings(environ []string) []setting {
	var out []setting
	for _, group := range flagTable(&Settings{}) {
		for _, row := range group.rows {
			if row.once {
				continue
			}
			s := setting{row: row, value: cfg.flags.Lookup(row.name).Value.String(), origin: cfg.origin[row.name]}
			if s.origin == "" {
				s.origin = fromDefault
			}
			if row.wins != "" && lookup(environ, row.wins) != "" {
				s.value, s.origin = lookup(environ, row.wins), row.wins
			}
			s.value = row.show(s.value)
			out = append(out, s)
		}
	}
	return out
}

// show returns a value without its secrets, for people and logs.
func (row *flagRow) show(value string) string {
	switch {
	case value == "":
		return ""
	case row.secret:
		return hidden
	case row.url:
		return withoutSecrets(value)
	default:
		return value
	}
}

// withoutSecrets returns a URL without its user, password and query. If it cannot be parsed, all of it is hidden: a
// password may be anywhere in it.
func withoutSecrets(raw string) string {
	u, err := url.Parse(raw)
	switch {
	case err != nil, u.Host == "" && u.Path == "", strings.Contains(u.Path, "@"):
		return hidden
	case u.User == nil:
		return u.Scheme + "://" + u.Host + u.Path
	default:
		return u.Scheme + "://" + hidden + "@" + u.Host + u.Path
	}
}

// printSettings writes a line for each setting: its name, its value, and the origin of the value.
func printSettings(w io.Writer, cfg *Settings, environ []string) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range cfg.settings(environ) {
		value := s.value
		if s.origin == fromDefault && s.row.unset != "" {
			value = s.row.unset
		}
		fmt.Fprintf(table, "-%s\t%s\t%s\n", s.row.name, value, s.origin)
	}
	_ = table.Flush() // an error of standard output has nowhere to go
}

// Changed returns every setting that is not the default, for the log.
func (cfg *Settings) Changed(environ []string) []slog.Attr {
	var out []slog.Attr
	for _, s := range cfg.settings(environ) {
		if s.value != s.row.show(cfg.flags.Lookup(s.row.name).DefValue) {
			out = append(out, slog.String(s.row.name, s.value))
		}
	}
	return out
}
