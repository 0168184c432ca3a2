package settings

import "fmt"

// UsageError marks errors that are the caller's: one sentence, exit status 2.
type UsageError struct{ error }

// Usagef makes one.
func Usagef(format string, args ...any) error { return UsageError{fmt.Errorf(format, args...)} }
