// Package settings has the one table of the gateway's flags, and the code that reads, checks and prints them. The help,
// the environment variables, -print-config, the line in the log and the tables in the README are made from the table.
//
// A flag wins over an environment variable, and a variable over the default. Settings that are wrong or contradict each
// other are refused with a [UsageError], which is one sentence.
package settings
