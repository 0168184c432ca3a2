package doctor

// Plan is what the host is asked to hold.
type Plan struct {
	Connections int
	Files       int   // open files of the gateway's process for them
	Loops       int   // 0: one a CPU
	SendBuffer  int   // bytes; -send-buffer
	Ports       []int // that the gateway listens on
	Proxy       bool  // this host also runs the proxy in front: two sockets and a port more a connection
}

// sockets is how many the host has for these connections: with a proxy here, one more at either end of it.
func (p Plan) sockets() uint64 {
	n := uint64(p.Connections)
	if p.Proxy {
		return 3 * n
	}
	return n
}

const (
	// userBytes is the process's share of a connection with a channel of its own, as seen from outside:
	// bench/RESULTS.md has 847 B at 19,000, and growth by GOGC=100 comes on top.
	userBytes = 1300
	// kernelBytes is the kernel's share: 4.0 KB a socket that is idle (bench/RESULTS.md), and a page of queued data.
	kernelBytes = 8 << 10
	// baseBytes is what a gateway takes without a connection: binary, runtime, mailboxes.
	baseBytes = 128 << 20
)

// memory is how much the connections take, all in.
func (p Plan) memory() uint64 {
	return p.sockets()*kernelBytes + uint64(p.Connections)*userBytes + baseBytes
}
