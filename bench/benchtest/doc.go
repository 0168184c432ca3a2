// Package benchtest is what tests of bench share: a gateway made for being wrong, and servers to start.
package benchtest
