// Package prometheus holds the test behind `make observe-test`: a real Prometheus scrapes a real gateway in trouble,
// evaluates every expression of the dashboard and every alert rule, and the alerts must fire, and resolve. It needs
// Debian's prometheus package and bin/gateway, so that other runs of the tests skip it.
package prometheus
