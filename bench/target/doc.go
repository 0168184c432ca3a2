// Package target is what a run is about: the gateways, one or many, found or started for the run, with their Redis and what
// their admin listeners tell.
package target
