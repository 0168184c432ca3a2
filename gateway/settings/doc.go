// Package settings is the one table of the gateway's flags, and everything that reads, checks and prints them: the help,
// the variables of the environment, -print-config, the line in the log and the tables of the README are made of it. A
// flag wins over the environment, and that over the default. What contradicts itself is refused with one sentence, a
// [UsageError].
package settings
