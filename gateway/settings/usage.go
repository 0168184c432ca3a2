package settings

import "fmt"

// UsageError is an error in the flags or arguments, in one sentence. The command ends with exit status 2.
type UsageError struct{ error }

// Unwrap returns the error inside.
func (e UsageError) Unwrap() error { return e.error }

// Usagef returns a UsageError, formatted as by fmt.Errorf.
func Usagef(format string, args ...any) error { return UsageError{fmt.Errorf(format, args...)} }
