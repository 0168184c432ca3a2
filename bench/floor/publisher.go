package floor

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"time"

	"github.com/carillon-ws/carillon/bench/host"
	"github.com/carillon-ws/carillon/bench/wire"
)

// Publisher publishes over a floor server's control connection.
type Publisher struct {
	conn net.Conn
	buf  []byte
}

// Dial connects to a server's control address.
func Dial(ctx context.Context, addr string) (*Publisher, error) {
	d := net.Dialer{Timeout: 5 * time.Second}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &Publisher{conn: conn}, nil
}

// Publish hands a batch to the server, a line each.
func (p *Publisher) Publish(ctx context.Context, batch []wire.Publication) error {
	p.buf = wire.AppendLines(p.buf[:0], batch)
	if err := p.conn.SetWriteDeadline(deadline(ctx)); err != nil {
		return err
	}
	_, err := p.conn.Write(p.buf)
	return err
}

// Stats asks the server what it has done.
func (p *Publisher) Stats(ctx context.Context) (s Stats, err error) {
	if err := p.conn.SetDeadline(deadline(ctx)); err != nil {
		return s, err
	}
	if _, err := p.conn.Write([]byte("stats\n")); err != nil {
		return s, err
	}
	err = json.NewDecoder(p.conn).Decode(&s)
	return s, err
}

// Close ends the connection.
func (p *Publisher) Close() error { return p.conn.Close() }

// deadline bounds one exchange with a server that may be busy writing to all its subscribers.
func deadline(ctx context.Context) time.Time {
	if t, ok := ctx.Deadline(); ok {
		return t
	}
	return time.Now().Add(30 * time.Second)
}

// Child is a floor server in a process of its own: this program, called again.
type Child struct {
	*host.Child
	Stats // as it was at the start
}

// Start starts a server in a process of its own.
func Start(ctx context.Context, mode Mode, cpu int) (*Child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // read to the line we want
	// Without this the runtime sends the loop a signal every 10 ms, to no avail: it never waits inside the scheduler.
	env := []string{"GODEBUG=asyncpreemptoff=1"}
	own, err := host.Start(self, []string{"floor", "-mode", string(mode)}, host.Options{Env: env, Out: w, CPU: cpu})
	_ = w.Close() // ours; the child has its own
	if err != nil {
		return nil, err
	}
	f := &Child{Child: own}
	err = r.SetReadDeadline(deadline(ctx))
	if err == nil {
		err = json.NewDecoder(r).Decode(&f.Stats)
	}
	if err != nil {
		return nil, errors.Join(err, own.Stop())
	}
	return f, nil
}
