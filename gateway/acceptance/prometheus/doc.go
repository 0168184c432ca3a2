// Package prometheus has the test of `make observe-test`. A real Prometheus scrapes a real gateway in trouble, and evaluates
// every expression of the dashboard and every alert rule. The alerts must fire and resolve. The test needs Debian's package
// prometheus and bin/gateway; other runs of the tests skip it.
package prometheus
