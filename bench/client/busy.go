package client

// Busy is how much of a time threads were reading that share a machine's CPUs.
type Busy struct {
	Busiest, Sum  float64 // shares of the time: of the busiest thread, of all together
	Threads, CPUs int
}

// Add adds a thread.
func (b *Busy) Add(share float64) { b.Merge(Busy{Busiest: share, Sum: share, Threads: 1}) }

// Merge adds the threads of another worker on the same machine.
func (b *Busy) Merge(other Busy) {
	b.Busiest, b.CPUs = max(b.Busiest, other.Busiest), max(b.CPUs, other.CPUs)
	b.Sum += other.Sum
	b.Threads += other.Threads
}

// Share is that of the busiest thread, or, since many threads may share few CPUs, the share of the CPUs that the threads
// could have had.
func (b *Busy) Share() float64 {
	return max(b.Busiest, b.Sum/float64(max(1, min(b.Threads, b.CPUs))))
}
