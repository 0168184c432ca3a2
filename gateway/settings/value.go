package settings

import (
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Binding registers a flag whose value is kept in a variable.
type Binding func(fs *flag.FlagSet, name, usage string)

func text(p *string, value string) Binding {
	return func(fs *flag.FlagSet, name, usage string) { fs.StringVar(p, name, value, usage) }
}

func yes(p *bool) Binding {
	return func(fs *flag.FlagSet, name, usage string) { fs.BoolVar(p, name, false, usage) }
}

// Number binds a whole number. value is the default.
func Number(p *int, value int) Binding {
	return func(fs *flag.FlagSet, name, usage string) {
		*p = value
		fs.Var(amount[int]{p, wholeNumber, "it must be a whole number, as in 1000"}, name, usage)
	}
}

// Duration binds a time. value is the default.
func Duration(p *time.Duration, value time.Duration) Binding {
	return func(fs *flag.FlagSet, name, usage string) {
		*p = value
		fs.Var(amount[time.Duration]{p, time.ParseDuration, "a time is a number and its unit, as in 500ms, 30s or 5m"}, name, usage)
	}
}

// bytesize is a size of at least one byte.
func bytesize(p *int, value int) Binding {
	return func(fs *flag.FlagSet, name, usage string) {
		*p = value
		fs.Var(size{n: p}, name, usage)
	}
}

// bytesizeOrNone is a size that may be 0, which is the default.
func bytesizeOrNone(p *int) Binding {
	return func(fs *flag.FlagSet, name, usage string) { fs.Var(size{p, true}, name, usage) }
}

// oneOf is one of a few words; the first is the default.
func oneOf[T ~string](p *T, words ...T) Binding {
	return func(fs *flag.FlagSet, name, usage string) {
		*p = words[0]
		fs.Var(word[T]{p, words}, name, usage)
	}
}

// each is a flag that may be given several times, or once with commas between the items, as in the environment.
func each[T any](p *[]T, parse func(string) (T, error)) Binding {
	return func(fs *flag.FlagSet, name, usage string) { fs.Var(list[T]{p, parse}, name, usage) }
}

// wholeNumber reads 1000000, and 1_000_000 as Go writes it.
func wholeNumber(v string) (int, error) {
	n, err := strconv.ParseInt(v, 0, strconv.IntSize)
	return int(n), err
}

// amount is a number or a time. Package flag has both, but its error is only "parse error".
type amount[T any] struct {
	p     *T
	parse func(string) (T, error)
	wants string
}

func (a amount[T]) String() string {
	var zero T
	if a.p == nil { // package flag calls String on a zero value, to leave zero defaults out of the help
		return fmt.Sprint(zero)
	}
	return fmt.Sprint(*a.p)
}

func (a amount[T]) Set(v string) error {
	parsed, err := a.parse(v)
	if err != nil {
		return errors.New(a.wants)
	}
	*a.p = parsed
	return nil
}

// size is a number of bytes: 512, 64KiB, 1MiB.
type size struct {
	n    *int
	zero bool // 0 is allowed
}

func (s size) String() string {
	switch {
	case s.n == nil:
		return ""
	case *s.n >= 1<<20 && *s.n%(1<<20) == 0:
		return strconv.Itoa(*s.n>>20) + "MiB"
	case *s.n >= 1<<10 && *s.n%(1<<10) == 0:
		return strconv.Itoa(*s.n>>10) + "KiB"
	default:
		return strconv.Itoa(*s.n)
	}
}

func (s size) Set(v string) error {
	digits, shift := v, 0
	for unit, by := range map[string]int{"KiB": 10, "MiB": 20, "GiB": 30} {
		if rest, ok := strings.CutSuffix(v, unit); ok {
			digits, shift = rest, by
		}
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n < 0 || n == 0 && !s.zero || n > (1<<40)>>shift {
		return errors.New("a size is a positive number of bytes, or of KiB, MiB or GiB, as in 64KiB")
	}
	*s.n = n << shift
	return nil
}

type word[T ~string] struct {
	p     *T
	words []T
}

func (w word[T]) String() string {
	if w.p == nil {
		return ""
	}
	return string(*w.p)
}

func (w word[T]) Set(v string) error {
	names := make([]string, 0, len(w.words))
	for _, known := range w.words {
		if v == string(known) {
			*w.p = known
			return nil
		}
		names = append(names, string(known))
	}
	return fmt.Errorf("must be %s or %s", strings.Join(names[:len(names)-1], ", "), names[len(names)-1])
}

type list[T any] struct {
	p     *[]T
	parse func(string) (T, error)
}

func (l list[T]) String() string {
	if l.p == nil {
		return ""
	}
	out := make([]string, 0, len(*l.p))
	for _, v := range *l.p {
		out = append(out, fmt.Sprint(v))
	}
	return strings.Join(out, ",")
}

func (l list[T]) Set(v string) error {
	for part := range strings.SplitSeq(v, ",") {
		parsed, err := l.parse(strings.TrimSpace(part))
		if err != nil {
			return err
		}
		*l.p = append(*l.p, parsed)
	}
	return nil
}
