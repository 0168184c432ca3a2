// Package report is what a run found out, and how it is told: JSON (result.go), a table for a terminal (text.go), a
// page (html.go, charts.go), demands that must hold (slo.go), and runs side by side (compare.go). It measures nothing.
package report
