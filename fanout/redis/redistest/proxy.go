package redistest

import (
	"bytes"
	"net"
	"sync"
	"testing"

	"github.com/carillon-ws/carillon/fanout/fanouttest"
)

// Mode is what a [Proxy] does with connections.
type Mode int

// The modes. Each is about the connections that are open when it is set and about those that come later.
const (
	Pass      Mode = iota // bytes pass both ways; what Blackhole or Reset has ended stays ended
	Blackhole             // connections are accepted and stay open, bytes vanish; a partition nobody is told of
	Mute                  // publications do not come, answers to commands do
	Refuse                // nothing listens, open connections are closed (FIN)
	Reset                 // connections are reset (RST), new ones as soon as they are accepted
)

// Proxy stands between a client and a server on loopback TCP. Its methods are safe to call from any goroutine.
type Proxy struct {
	tb     testing.TB
	target string
	addr   string
	wg     sync.WaitGroup // accept loop and one goroutine per direction

	// Guarded by mu.
	mu       sync.Mutex
	mode     Mode
	listener net.Listener // nil in Refuse
	pairs    map[*pair]struct{}
	accepted int
}

// pair is one proxied connection.
type pair struct {
	client, server net.Conn // server is nil if the connection came into a black hole

	// Guarded by Proxy.mu.
	holed bool // its bytes vanish for good: what came during the hole is missing from its stream
}

// NewProxy starts a proxy for target, host:port, in mode Pass. It ends with the test.
func NewProxy(tb testing.TB, target string) *Proxy {
	tb.Helper()
	p := &Proxy{tb: tb, target: target, addr: fanouttest.Addr(tb), pairs: make(map[*pair]struct{})}
	p.mu.Lock()
	p.listenLocked()
	p.mu.Unlock()
	tb.Cleanup(func() {
		p.Set(Refuse)
		p.wg.Wait()
	})
	return p
}

// Addr is where the proxy listens, in whatever mode, host:port.
func (p *Proxy) Addr() string { return p.addr }

// URL is Addr as a redis:// URL.
func (p *Proxy) URL() string { return "redis://" + p.addr }

// Accepted is how many connections have been accepted so far.
func (p *Proxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// Set changes the mode. When it returns, the change has happened to every open connection.
func (p *Proxy) Set(mode Mode) {
	p.tb.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode = mode
	if mode == Refuse {
		if p.listener != nil {
			_ = fanouttest.Free(p.listener)
			p.listener = nil
		}
	} else if p.listener == nil {
		p.listenLocked()
	}
	for pr := range p.pairs {
		switch mode {
		case Pass, Mute:
		case Blackhole:
			pr.holed = true
		case Refuse:
			pr.close()
		case Reset:
			pr.reset()
		}
	}
}

// Cut closes every open connection (FIN) and leaves the mode as it is.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for pr := range p.pairs {
		pr.close()
	}
}

func (p *Proxy) listenLocked() {
	p.tb.Helper()
	l, err := net.Listen("tcp", p.addr)
	if err != nil {
		p.tb.Errorf("proxy: %v", err)
		return
	}
	p.listener = l
	p.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.serve(conn)
		}
	})
}

// serve runs on the accept loop. Its dial is to loopback, where the kernel answers at once.
func (p *Proxy) serve(client net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.accepted++
	pr := &pair{client: client}
	switch p.mode {
	case Reset:
		pr.reset()
		return
	case Refuse: // accepted just before
		pr.close()
		return
	case Blackhole:
		pr.holed = true
	case Pass, Mute:
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			pr.reset()
			return
		}
		pr.server = server
		p.wg.Go(func() { p.copy(pr, server, client) })
	}
	p.pairs[pr] = struct{}{}
	p.wg.Go(func() { p.copy(pr, client, pr.server) })
}

// copy moves bytes until one end fails, then closes both. to is nil in a black hole.
func (p *Proxy) copy(pr *pair, from, to net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !p.swallows(pr, from, buf[:n]) {
			_, err = to.Write(buf[:n])
		}
		if err != nil {
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if pr.holed && from == pr.server {
		return // not told to the client, whose end stays open until the client or the proxy closes it
	}
	pr.close()
	delete(p.pairs, pr)
}

// swallows reports whether these bytes vanish. Redis answers a command at once, so that they are either answers or
// publications; answers that come in one read with publications vanish with them.
func (p *Proxy) swallows(pr *pair, from net.Conn, data []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return pr.holed || p.mode == Mute && from == pr.server && bytes.Contains(data, []byte("message\r\n"))
}

func (pr *pair) close() {
	_ = pr.client.Close()
	if pr.server != nil {
		_ = pr.server.Close()
	}
}

func (pr *pair) reset() {
	for _, conn := range []net.Conn{pr.client, pr.server} {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
	}
	pr.close()
}
