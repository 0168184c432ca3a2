package main

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"os"
	"time"
)

// floorPublisher publishes over a floor server's control connection.
type floorPublisher struct {
	conn net.Conn
	buf  []byte
}

func dialFloor(ctx context.Context, addr string) (*floorPublisher, error) {
	d := net.Dialer{Timeout: 5 * time.Second}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &floorPublisher{conn: conn}, nil
}

func (p *floorPublisher) publish(ctx context.Context, batch []publication) error {
	p.buf = p.buf[:0]
	for i := range batch {
		p.buf = append(p.buf, batch[i].channel...)
		p.buf = append(p.buf, ' ')
		p.buf = append(p.buf, batch[i].payload...)
		p.buf = append(p.buf, '\n')
	}
	if err := p.conn.SetWriteDeadline(deadline(ctx)); err != nil {
		return err
	}
	_, err := p.conn.Write(p.buf)
	return err
}

// stats asks the server what it has done.
func (p *floorPublisher) stats(ctx context.Context) (s floorStats, err error) {
	if err := p.conn.SetDeadline(deadline(ctx)); err != nil {
		return s, err
	}
	if _, err := p.conn.Write([]byte("stats\n")); err != nil {
		return s, err
	}
	err = json.NewDecoder(p.conn).Decode(&s)
	return s, err
}

func (p *floorPublisher) Close() error { return p.conn.Close() }

// deadline bounds one exchange with a server that may be busy writing to all its subscribers.
func deadline(ctx context.Context) time.Time {
	if t, ok := ctx.Deadline(); ok {
		return t
	}
	return time.Now().Add(30 * time.Second)
}

// floorChild is a floor server in a process of its own: this program, called again.
type floorChild struct {
	*child
	floorStats // as it was at the start
}

func startFloor(ctx context.Context, mode floorMode, cpu int) (*floorChild, error) {
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
	own, err := startChild(self, []string{"floor", "-mode", string(mode)}, env, w, cpu)
	_ = w.Close() // ours; the child has its own
	if err != nil {
		return nil, err
	}
	f := &floorChild{child: own}
	if err := r.SetReadDeadline(deadline(ctx)); err != nil {
		return nil, join(err, own)
	}
	line, err := bufio.NewReader(r).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &f.floorStats)
	}
	if err != nil {
		return nil, join(err, own)
	}
	return f, nil
}

func join(err error, own *child) error {
	if stopErr := own.stop(); stopErr != nil {
		return stopErr
	}
	return err
}
