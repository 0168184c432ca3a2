// Package coordinator leads a run: it has workers hold the clients, publishes, and takes the gateways through the phases.
//
//	coordinator  one run, phase by phase (coordinator.go; deliver.go, returns.go and fault.go have the phases)
//	Workers      all clients, in this process, in others here (processes.go), or on other machines
//	publisher    publishes the load of one phase, on a schedule or as fast as it is heard
//	tracker      knows who has not heard a publication yet, and when the first and the last did
//
// What a client is, and what it counts, is package client.
package coordinator
