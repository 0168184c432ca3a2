package settings

import (
	"flag"
	"strings"
)

// Hint says what to do about an error of the flag package: for a flag that does not exist, which may be meant; else which
// command lists them.
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

// nearest returns the name that a misspelt one may stand for: the one that the fewest changes lead to, if those are few
// for its length; else one that begins or ends like it. Empty: none.
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

// distance is how many letters must be inserted, left out or replaced to make b of a, a swap of neighbours counting
// once (optimal string alignment).
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
