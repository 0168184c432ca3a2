// Package floor is the cheapest server that can do a gateway's work, and its client: what it costs is what the kernel
// takes, and so the unit in which a gateway's own cost is told.
package floor
