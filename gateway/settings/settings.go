package settings

import (
	"errors"
	"flag"
	"io"
	"os"
	"slices"
	"strings"
)

// envPrefix begins the names of the gateway's environment variables: -max-message is CARILLON_MAX_MESSAGE.
const envPrefix = "CARILLON_"

// Where a value came from, if not from a variable, which is told by its name.
const (
	fromDefault = "default"
	fromFlag    = "flag"
)

// EnvName is the variable of the environment that sets what a flag has not set: CARILLON_MAX_MESSAGE of max-message.
func EnvName(flagName string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flagName, "-", "_"))
}

// Parse reads the arguments of serve and demo, and the environment. Errors are one sentence each.
func Parse(command string, args []string, stdout io.Writer) (*Settings, error) {
	return Read(command, args, os.Environ(), stdout)
}

// Read works the settings out: a flag wins over the environment, and that over the default. With -print-config
// it prints them, right or wrong, and returns flag.ErrHelp if they are right.
func Read(command string, args, environ []string, stdout io.Writer) (*Settings, error) {
	cfg := &Settings{origin: map[string]string{}}
	fs := NewFlagSet(cfg)
	cfg.flags = fs
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			printHelp(stdout)
			return nil, err
		}
		return nil, Usagef("%v (%s)", err, Hint(err, fs, "gateway -h"))
	}
	if fs.NArg() > 0 {
		return nil, Usagef("unexpected argument %q (flags come before it or not at all)", fs.Arg(0))
	}
	fs.Visit(func(f *flag.Flag) { cfg.origin[f.Name] = fromFlag })
	if err := cfg.takeEnvironment(fs, environ); err != nil {
		return nil, err
	}
	err := cfg.check(command)
	if cfg.printConfig {
		printSettings(stdout, cfg, environ)
		if err == nil {
			return nil, flag.ErrHelp
		}
	}
	return cfg, err
}

// takeEnvironment sets what no flag has set. An empty variable counts as absent: that is how files of variables leave
// something out.
func (cfg *Settings) takeEnvironment(fs *flag.FlagSet, environ []string) error {
	for _, group := range flagTable(&Settings{}) {
		for _, row := range group.rows {
			name := EnvName(row.name)
			value := lookup(environ, name)
			if value == "" || row.once || cfg.origin[row.name] == fromFlag {
				continue
			}
			if err := fs.Set(row.name, value); err != nil {
				if row.secret {
					value = hidden
				}
				return Usagef("%s: invalid value %q: %w", name, value, err)
			}
			cfg.origin[row.name] = name
		}
	}
	return nil
}

// lookup returns a variable's value; the last of several counts, as it does for os.Getenv.
func lookup(environ []string, name string) string {
	for _, entry := range slices.Backward(environ) {
		if key, value, _ := strings.Cut(entry, "="); key == name {
			return value
		}
	}
	return ""
}

// Misspelt returns the variables that look like one of ours and are none, each with the one it may stand for. Not every
// stranger is a mistake: Kubernetes sets CARILLON_SERVICE_HOST and the like for a service of that name.
func Misspelt(environ []string) []string {
	var names, out []string
	for _, group := range flagTable(&Settings{}) {
		for _, row := range group.rows {
			names = append(names, EnvName(row.name))
		}
	}
	for _, entry := range environ {
		key, _, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(key, envPrefix) || slices.Contains(names, key) {
			continue
		}
		if near := nearest(key, names); near != "" {
			out = append(out, key+" (is "+near+" meant?)")
		}
	}
	return out
}
