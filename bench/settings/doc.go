// Package settings is what the flags of bench ask for: it reads them, refuses what is contradictory, and works out what
// follows. It starts nothing.
package settings
