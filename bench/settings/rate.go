package settings

// maxDefaultDeliveries bounds what a run without -rate asks for: a laptop reaches it, so that a first run measures
// the gateway's latency and not its queue.
const maxDefaultDeliveries = 20_000

// maxDefaultRate keeps a run with many small channels from measuring the publisher instead.
const maxDefaultRate = 1_000

// DefaultRate is the largest whole number of publications per second that stays below maxDefaultDeliveries, and at
// least one.
func DefaultRate(connections, channels int) float64 {
	perChannel := (connections + channels - 1) / channels
	return float64(min(maxDefaultRate, max(1, (maxDefaultDeliveries-1)/perChannel)))
}
