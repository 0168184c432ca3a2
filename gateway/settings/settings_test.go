package settings

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

func read(t *testing.T, args, environ []string) *Settings {
	t.Helper()
	cfg, err := Read("serve", args, environ, io.Discard)
	if err != nil {
		t.Fatalf("Read(%q, %q) = %v", args, environ, err)
	}
	return cfg
}

func TestFlagOverEnvironmentOverDefault(t *testing.T) {
	t.Parallel()
	environ := []string{
		"CARILLON_MAX_BACKLOG=2MiB", "CARILLON_MAX_CHANNELS=7", "CARILLON_DRAIN=9s", "CARILLON_INSECURE=true", "CARILLON_LOOPS=",
		"CARILLON_ALLOW_ORIGIN=https://a.example, https://B.example", "CARILLON_SLOW_CONSUMER=drop", "CARILLON_PRINT_CONFIG=true",
	}
	cfg := read(t, []string{"-max-channels", "8", "-allow-origin", "https://c.example"}, environ)
	s := cfg.Server
	if s.MaxBacklog != 2<<20 || s.MaxChannels != 8 || s.Drain != 9*time.Second || !cfg.Insecure || s.Loops != 0 || s.SlowConsumer != "drop" {
		t.Errorf("settings %+v", s)
	}
	if !slices.Equal(cfg.Origins, []string{"https://c.example"}) {
		t.Errorf("origins %q: the list of the flag must replace that of the environment", cfg.Origins)
	}
	if got := read(t, nil, environ).Origins; !slices.Equal(got, []string{"https://a.example", "https://b.example"}) {
		t.Errorf("origins of the environment: %q", got)
	}
	for name, want := range map[string]string{"max-backlog": "CARILLON_MAX_BACKLOG", "max-channels": fromFlag, "loops": "", "print-config": ""} {
		if got := cfg.origin[name]; got != want {
			t.Errorf("-%s comes from %q, want %q", name, got, want)
		}
	}
	// A flag can undo what the environment set.
	if cfg := read(t, []string{"-max-connections", "1_000_000"}, nil); cfg.Server.MaxConnections != 1_000_000 {
		t.Errorf("max-connections %d", cfg.Server.MaxConnections)
	}
	if cfg := read(t, []string{"-memory-limit", "0", "-insecure=false"}, []string{"CARILLON_MEMORY_LIMIT=1GiB", "CARILLON_INSECURE=1"}); cfg.MemoryLimit != 0 || cfg.Insecure {
		t.Errorf("memory limit %d, insecure %v", cfg.MemoryLimit, cfg.Insecure)
	}
}

// A limit may be as large as its counter can count.
func TestLargestCounts(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"-max-fragments", "4000000"},
		{"-max-channels", "65535", "-max-message-rate", "0"},
		{"-max-channels", "32767", "-max-message-burst", "32767"},
		{"-max-channels", "10000"}, // the default of the burst grows with it
		{"-max-message-burst", "1000"},
	} {
		read(t, args, nil)
	}
}

func TestWrongVariables(t *testing.T) {
	t.Parallel()
	for environ, want := range map[string]string{
		"CARILLON_MAX_MESSAGE=64XB":         "CARILLON_MAX_MESSAGE: invalid value \"64XB\": a size",
		"CARILLON_DRAIN=soon":               "CARILLON_DRAIN",
		"CARILLON_ADDR=0.0.0.0:80":          "-insecure",
		"CARILLON_SLOW_CONSUMER=wait":       "close or drop",
		"CARILLON_ADMIN_TOKEN=\n":           "empty",
		"CARILLON_TRUSTED_PROXY=10.0.0.1/8": "network",
	} {
		var usage UsageError
		if _, err := Read("serve", nil, []string{environ}, io.Discard); !errors.As(err, &usage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want a usage error with %q", environ, err, want)
		}
	}
	got := Misspelt([]string{"CARILLON_MAX_CONECTIONS=5", "CARILLON_SERVICE_HOST=10.0.0.1", "CARILLON_PORT=tcp://10.0.0.1", "CARILLON_DRAIN=1s", "HOME=/"})
	if len(got) != 1 || !strings.Contains(got[0], "CARILLON_MAX_CONECTIONS (is CARILLON_MAX_CONNECTIONS meant?)") {
		t.Errorf("misspelt = %q", got)
	}
}

// With several wrong settings the error names the first in the order of the table, each time.
func TestErrorNamesTheFirstOfSeveralWrongSettings(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"-max-connections", "-1", "-max-accepts", "-1", "-max-message-rate", "-1"}, "-max-connections "},
		{[]string{"-message-timeout", "0", "-handshake-timeout", "0", "-max-backlog-age", "0"}, "-message-timeout "},
		{[]string{"-ping-interval", "-1s", "-heartbeat", "-1s", "-drain-delay", "-1s", "-drain", "-1s"}, "-ping-interval "},
		{[]string{"-jwt-audience", "x", "-jwt-issuer", "x", "-jwt-query", "-personal-channel", "x"}, "-jwt-audience "},
	} {
		for range 50 { // a map has another order each time
			if _, err := Read("serve", tc.args, nil, io.Discard); err == nil || !strings.HasPrefix(err.Error(), tc.want) {
				t.Fatalf("%q: %v, want %q first", tc.args, err, tc.want)
			}
		}
	}
}

func TestPrintConfig(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	_, err := Read("serve",
		[]string{"-print-config", "-redis", "redis://user:hush@h:6379/1?x=hush", "-drain", "5s"},
		[]string{"CARILLON_ADMIN_TOKEN=hush", "CARILLON_MAX_CHANNELS=7", "GOGC=42"}, &out)
	if !errors.Is(err, flag.ErrHelp) {
		t.Errorf("with right settings: %v", err)
	}
	lines := map[string][]string{}
	for line := range strings.Lines(out.String()) {
		fields := strings.Fields(line)
		lines[fields[0]] = fields[1:]
	}
	for name, want := range map[string]string{
		"-redis": "redis://***@h:6379/1 flag", "-admin-token": "*** CARILLON_ADMIN_TOKEN", "-max-channels": "7 CARILLON_MAX_CHANNELS",
		"-drain": "5s flag", "-max-message": "64KiB default", "-loops": "one for each CPU default", "-gc-percent": "42 GOGC",
	} {
		if got := strings.Join(lines[name], " "); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if want := len(flagNames(NewFlagSet(&Settings{}))) - 1; len(lines) != want {
		t.Errorf("%d settings printed, want all %d", len(lines), want)
	}
	if strings.Contains(out.String(), "hush") {
		t.Errorf("a secret is printed:\n%s", &out)
	}
	var usage UsageError
	if _, err := Read("serve", []string{"-print-config", "-addr", "0.0.0.0:1"}, nil, &out); !errors.As(err, &usage) {
		t.Errorf("with wrong settings: %v", err)
	}
}

func TestLineEndAfterTheAdminTokenIsTakenOff(t *testing.T) {
	t.Parallel()
	if cfg := read(t, nil, []string{"CARILLON_ADMIN_TOKEN=hush\n"}); cfg.AdminToken != "hush" {
		t.Errorf("token %q, which cannot be sent in a header", cfg.AdminToken)
	}
}

func TestChangedSettings(t *testing.T) {
	t.Parallel()
	cfg := read(t, []string{"-drain", "5s", "-max-channels", "3", "-redis", "redis://:hush@h"}, []string{"CARILLON_ADMIN_TOKEN=hush"})
	var got []string
	for _, attr := range cfg.Changed(nil) {
		got = append(got, attr.String())
	}
	want := []string{"redis=redis://***@h", "max-channels=3", "admin-token=***"} // -drain 5s is the default
	if !slices.Equal(got, want) {
		t.Errorf("changed = %q, want %q", got, want)
	}
	if got := read(t, nil, nil).Changed(nil); len(got) != 0 {
		t.Errorf("by default: %v", got)
	}
}

func TestWithoutSecrets(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"redis://h:1/2":                "redis://h:1/2",
		"rediss://u:p@h:1":             "rediss://***@h:1",
		"redis://h?password=p":         "redis://h",
		"unix:///run/redis.sock?db=1":  "unix:///run/redis.sock",
		"redis://:p/w@h":               hidden, // the password should be percent-encoded
		"redis://:p%zz@h":              hidden,
		"https://u:p@keys.example/set": "https://***@keys.example/set",
	} {
		if got := withoutSecrets(in); got != want {
			t.Errorf("withoutSecrets(%q) = %q, want %q", in, got, want)
		}
	}
}

// An origin in a form that no browser sends would allow nobody, without an error.
func TestOriginsAreAsBrowsersSendThem(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"https://App.Example": "https://app.example", "https://app.example:443": "https://app.example", "http://app.example:80": "http://app.example",
		"http://app.example:443": "http://app.example:443", "http://[::1]:80": "http://[::1]", "app://desk": "app://desk", "*": "*",
	} {
		if got, err := checkedOrigin(given); got != want || err != nil {
			t.Errorf("checkedOrigin(%q) = %q, %v, want %q", given, got, err, want)
		}
	}
	for _, given := range []string{"", "app.example", "https://", "https://app.example/", "https://me@app.example", "https://*.app.example", "https://*", "null"} {
		if got, err := checkedOrigin(given); err == nil {
			t.Errorf("checkedOrigin(%q) = %q, want an error", given, got)
		}
	}
}

// If only its loopback address protects a gateway, a page from the host that it connects to is allowed only if that host
// is loopback: any other name can be made to point here.
func TestWhenTheHostMustBeLoopback(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		args []string
		want bool
	}{
		{nil, true},
		{[]string{"-addr", "localhost:0"}, true},
		{[]string{"-addr", "[::1]:0", "-insecure"}, true},
		{[]string{"-trusted-proxy", "127.0.0.1"}, false},
		{[]string{"-jwt-secret", "k"}, false},
		{[]string{"-addr", "0.0.0.0:0", "-insecure", "-redis", "redis://h"}, false},
	} {
		if got := read(t, tc.args, nil).Server.Upgrade.LoopbackHost; got != tc.want {
			t.Errorf("%q: a host must be loopback: %t, want %t", tc.args, got, tc.want)
		}
	}
}

func TestPersonalChannels(t *testing.T) {
	t.Parallel()
	for _, pattern := range []string{"user:{sub}", "{sub}", "{sub}:{sub}", "everybody"} {
		read(t, []string{"-jwt-secret", "k", "-personal-channel", pattern}, nil)
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	names := flagNames(NewFlagSet(&Settings{}))
	for given, want := range map[string]string{
		"max-conections": "max-connections", "mx-message": "max-message", "adimn": "admin", "redsi": "redis", "loop": "loops",
		"jwtsecret": "jwt-secret", "slow": "slow-consumer", "token": "admin-token", "frobnicate": "", "x": "", "nope": "",
	} {
		if got := nearest(given, names); got != want {
			t.Errorf("nearest(%q) = %q, want %q", given, got, want)
		}
	}
}

// Each flag is in the table once, with one sentence.
func TestFlagTable(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, group := range flagTable(&Settings{}) {
		for _, row := range group.rows {
			if seen[EnvName(row.name)] {
				t.Errorf("-%s is in the table twice", row.name)
			}
			seen[EnvName(row.name)] = true
			if row.usage == "" || strings.HasSuffix(row.usage, ".") || strings.Contains(row.usage, ". ") || strings.Contains(row.usage, "|") {
				t.Errorf("-%s: %q is not one sentence", row.name, row.usage)
			}
		}
	}
}
