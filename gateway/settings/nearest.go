package settings

import (
	"flag"
	"strings"
)

// Hint returns what to do about an error of package flag. For an unknown flag it names the flag that may be meant; else
// it names help, the command that lists the flags.
func Hint(err error, fs *flag.FlagSet, help string) string {
	if name, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -"); ok {
		var names []string
		fs.VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
		if near := nearest(name, names); near != "" {
			return "is -" + near + " meant?"
		}
	}
	return help + " lists the flags"
}

// nearest returns the name that a misspelt one may stand for: the one with the smallest distance, if that is small for the
// length of the name; else one that begins or ends with what was given; else "".
func nearest(given string, names []string) string {
	best, fewest := "", max(1, len(given)/4)+1
	for _, name := range names {
		if n := distance(given, name); n < fewest {
			best, fewest = name, n
		}
	}
	if best != "" || len(given) < 4 {
		return best
	}
	for _, name := range names {
		if strings.HasPrefix(name, given) || strings.HasSuffix(name, given) {
			return name
		}
	}
	return ""
}

// distance returns how many steps turn a into b: a step inserts, removes or replaces a letter, or swaps two neighbours
// (optimal string alignment).
func distance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			change := 1
			if a[i] == b[j] {
				change = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+change)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
