package doctor

// Plan is what the host has to hold.
type Plan struct {
	Connections int
	Files       int   // open files that the gateway's process needs for them
	Loops       int   // 0: one for each CPU
	SendBuffer  int   // bytes; -send-buffer
	Ports       []int // that the gateway listens on
	Proxy       bool  // a proxy runs on this host too: each connection needs two more sockets and a port
}

// sockets returns how many sockets the host has for these connections. A proxy has two for each: to the client and to the
// gateway.
func (p Plan) sockets() uint64 {
	n := uint64(p.Connections)
	if p.Proxy {
		return 3 * n
	}
	return n
}

const (
	// userBytes is the process's memory for a connection with a channel of its own, seen from outside: bench/RESULTS.md has
	// 847 B at 19,000 connections, and the growth by GOGC=100 is added.
	userBytes = 1300
	// kernelBytes is the kernel's memory for a socket: 4.0 KB if it is idle (bench/RESULTS.md), and a page of queued data.
	kernelBytes = 8 << 10
	// baseBytes is the memory of a gateway without connections: binary, runtime, mailboxes.
	baseBytes = 128 << 20
)

// memory returns how much memory the gateway and the kernel need for the connections.
func (p Plan) memory() uint64 {
	return p.sockets()*kernelBytes + uint64(p.Connections)*userBytes + baseBytes
}
