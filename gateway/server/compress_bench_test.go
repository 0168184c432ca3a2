package server

import (
	"bytes"
	"compress/flate"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"github.com/carillon-ws/carillon/protocol"
)

// BenchmarkCompression is what a publication of about 600 bytes of JSON costs a loop with 1,000 subscribers: as it is,
// compressed once and shared, and compressed for each of them, as servers do that keep a compressor a connection.
// The clients' sockets are drained outside the clock.
func BenchmarkCompression(b *testing.B) {
	const subs = 1000
	for _, bc := range []struct {
		name, head string
		publish    func(lp *loop, f *feeder, data string)
	}{
		{"plain", handshake, func(_ *loop, f *feeder, data string) { f.Publish("notifications:all", data) }},
		{"once", deflateHandshake, func(_ *loop, f *feeder, data string) { f.Publish("notifications:all", data) }},
		{"each", handshake, func(lp *loop, _ *feeder, data string) { onLoop(b, lp, func() { deflateForEach(lp, data) }) }},
	} {
		b.Run(fmt.Sprintf("form=%s/subs=%d", bc.name, subs), func(b *testing.B) {
			s, feeder := startServer(b, compressConfig)
			lp := s.loops[0]
			fds := make([]int, subs)
			for i := range fds {
				fds[i] = rawClientWith(b, s.Addr(), "all", bc.head)
			}
			defer func() {
				for _, fd := range fds {
					_ = unix.Close(fd)
				}
			}()
			var spent time.Duration
			rounds, received := 0, 0
			buf := make([]byte, 64<<10)
			for b.Loop() {
				rounds++
				data := typicalJSON(rounds)
				want := lp.n.deliveries.Load() + subs
				start := time.Now()
				bc.publish(lp, feeder, data)
				for lp.n.deliveries.Load() < want {
					runtime.Gosched()
				}
				spent += time.Since(start)
				for _, fd := range fds {
					n, err := unix.Read(fd, buf)
					if err != nil {
						b.Fatal(err)
					}
					received += n
				}
			}
			b.ReportMetric(float64(spent.Microseconds())/float64(rounds), "us/publication")
			b.ReportMetric(float64(received)/float64(rounds*subs), "B/delivery")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// deflateForEach sends a notification to every connection, compressed anew for each.
func deflateForEach(lp *loop, data string) {
	payload, _ := protocol.AppendMessage(nil, &protocol.Message{
		Type: protocol.MessageNotification, Channel: "all", Data: data, Timestamp: time.Now().UnixMilli(),
	})
	var out bytes.Buffer
	z, _ := flate.NewWriter(&out, flate.BestSpeed) // a connection would keep it
	for slot := uint32(1); slot <= lp.conns.used; slot++ {
		out.Reset()
		z.Reset(&out)
		_, _ = z.Write(payload)
		_ = z.Flush()
		header := ws.Header{Fin: true, Rsv: ws.Rsv(true, false, false), OpCode: ws.OpText, Length: int64(out.Len() - 4)}
		var framed bytes.Buffer
		_ = ws.WriteHeader(&framed, header)
		framed.Write(out.Bytes()[:out.Len()-4])
		_, _ = send(lp.conns.at(slot).fd, framed.Bytes())
	}
	lp.n.deliveries.Add(uint64(lp.conns.used))
}
