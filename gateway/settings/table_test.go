package settings

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the README's tables of flags")

func flagNames(fs *flag.FlagSet) []string {
	var names []string
	fs.VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
	return names
}

var (
	flagsMark = regexp.MustCompile(`(?ms)^<!-- tables of flags -->\n.*?^<!-- end of the tables of flags -->\n`)
	flagWord  = regexp.MustCompile(`(^|[ (])(-[a-z][a-z0-9-]+)`)
)

// TestReadmeFlags: the README's tables of flags are made from the flag table.
func TestReadmeFlags(t *testing.T) {
	t.Parallel()
	const path = "../../README.md"
	readme, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(flagsMark.FindAllString(string(readme), -1)); n != 1 {
		t.Fatalf("%s has %d marks for the tables of flags, want 1", path, n)
	}
	want := flagsMark.ReplaceAllLiteralString(string(readme),
		"<!-- tables of flags -->\n"+flagsTables()+"\n<!-- end of the tables of flags -->\n")
	if want == string(readme) {
		return
	}
	if !*update {
		t.Fatalf("%s does not have the present table of flags; write it with: go test ./gateway/settings -run ReadmeFlags -update", path)
	}
	if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

func flagsTables() string {
	cfg := &Settings{}
	fs := NewFlagSet(cfg)
	var out strings.Builder
	for _, group := range flagTable(cfg) {
		fmt.Fprintf(&out, "\n| %s | environment | default | what it does |\n|---|---|---|---|\n", group.title)
		for _, row := range group.rows {
			value := row.shownDefault(fs)
			if value != "" && row.unset == "" {
				value = "`" + value + "`"
			}
			variable := ""
			if !row.once {
				variable = "`" + EnvName(row.name) + "`"
			}
			fmt.Fprintf(&out, "| `-%s` | %s | %s | %s |\n", row.name, variable, value, flagWord.ReplaceAllString(row.usage, "$1`$2`"))
		}
	}
	return out.String()
}
