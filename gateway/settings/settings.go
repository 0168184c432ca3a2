package settings

import (
	"errors"
	"flag"
	"io"
	"os"
	"slices"
	"strings"
)

// envPrefix begins the name of each of the gateway's environment variables: CARILLON_MAX_MESSAGE is -max-message.
const envPrefix = "CARILLON_"

// The origin of a value. For a value from the environment it is the name of the variable.
const (
	fromDefault = "default"
	fromFlag    = "flag"
)

// EnvName returns the environment variable that stands for a flag: CARILLON_MAX_MESSAGE for max-message.
func EnvName(flagName string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flagName, "-", "_"))
}

// Parse reads the arguments of serve or demo, and the environment. An error is one sentence.
func Parse(command string, args []string, stdout io.Writer) (*Settings, error) {
	return Read(command, args, os.Environ(), stdout)
}

// Read returns the settings: a flag wins over a variable of environ, and a variable over the default. With -print-config it
// prints the settings, also those that contradict each other, and returns flag.ErrHelp if there is no error.
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
		return nil, Usagef("unexpected argument %q: serve and demo take flags only", fs.Arg(0))
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

// takeEnvironment sets what no flag has set. An empty variable counts as absent, because files of variables often have
// empty ones.
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

// lookup returns the value of a variable; the last of several counts, as for os.Getenv.
func lookup(environ []string, name string) string {
	for _, entry := range slices.Backward(environ) {
		if key, value, _ := strings.Cut(entry, "="); key == name {
			return value
		}
	}
	return ""
}

// Misspelt returns the unknown variables whose name is close to one of ours, each with the one that may be meant. Other
// unknown variables with our prefix are no mistake: Kubernetes sets CARILLON_SERVICE_HOST for a service named carillon.
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
