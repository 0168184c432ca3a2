package settings

import "fmt"

// UsageError marks errors that are the caller's: bad flags or arguments, in one sentence, for exit status 2.
type UsageError struct{ error }

// Unwrap returns the error inside.
func (e UsageError) Unwrap() error { return e.error }

// Usagef returns a UsageError, formatted as by fmt.Errorf.
func Usagef(format string, args ...any) error { return UsageError{fmt.Errorf(format, args...)} }
