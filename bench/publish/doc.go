// Package publish is the ways in which publications reach a gateway: Redis, a floor server, HTTP, or a command.
package publish
