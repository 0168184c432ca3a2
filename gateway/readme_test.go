package main

import (
	"flag"
	"os"
	"regexp"
	"slices"
	"testing"
)

func flagNames(fs *flag.FlagSet) []string {
	var names []string
	fs.VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
	return names
}

// TestReadmeFlags keeps the front door true: the README's table has every flag, with its default, and no other.
func TestReadmeFlags(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	fs := newFlagSet(&config{})
	for _, row := range regexp.MustCompile("(?m)^\\| `-([a-z-]+)` \\|[ ]?([^|]*) \\|").FindAllStringSubmatch(string(readme), -1) {
		documented = append(documented, row[1])
		f := fs.Lookup(row[1])
		if f == nil {
			t.Errorf("README documents -%s, which does not exist", row[1])
			continue
		}
		if want := "`" + f.DefValue + "`"; hasDefault(f) && row[2] != want {
			t.Errorf("README says that -%s defaults to %s, it is %s", row[1], row[2], want)
		}
	}
	slices.Sort(documented)
	if want := flagNames(fs); !slices.Equal(documented, want) {
		t.Errorf("README documents %v, the flags are %v", documented, want)
	}
}
