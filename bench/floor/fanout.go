package floor

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"time"
	"unsafe"

	"github.com/gobwas/ws"

	"github.com/carillon-ws/carillon/bench/host"
	"github.com/carillon-ws/carillon/bench/wire"
	"github.com/carillon-ws/carillon/protocol"
)

// channel is a channel of the floor server with its subscribers.
type channel struct {
	name   string
	fds    []int32
	sorted bool   // fds are in the order in which they were accepted
	joined []byte // mode joined: frames of this turn
	frames int    // of them
}

func (ch *channel) remove(fd int) {
	if i := slices.Index(ch.fds, int32(fd)); i >= 0 {
		ch.fds = slices.Delete(ch.fds, i, i+1)
	}
}

// upgrade answers a handshake: the 101 and `connected` in one write. Just enough HTTP for our own clients.
func (f *Server) upgrade(fd int, request []byte) {
	_, key, ok := bytes.Cut(request, []byte("Sec-WebSocket-Key: "))
	if !ok || len(key) < wire.KeyLen {
		f.hangUp(fd)
		return
	}
	accept := wire.AcceptOf(key[:wire.KeyLen])
	f.out = append(f.out[:0], "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	f.out = append(f.out, accept[:]...)
	f.out = append(f.out, wire.HeadEnd...)
	f.out = protocol.AppendMessageFrame(f.out, &protocol.Message{
		Type: protocol.MessageConnected, ClientID: strconv.Itoa(int(f.conns[fd].order)), Timestamp: time.Now().UnixMilli(),
	})
	f.conns[fd].kind = kindOpen
	f.write(fd, f.out)
}

// commands reads masked frames, of which only text with a subscribe in it means anything.
func (f *Server) commands(fd int, data []byte) {
	for len(data) >= 6 {
		head, n := 2, int(data[1]&0x7f)
		if n == 126 {
			head, n = 4, int(data[2])<<8|int(data[3])
		}
		if n == 127 || len(data) < head+4+n {
			break
		}
		payload := data[head+4 : head+4+n]
		ws.Cipher(payload, [4]byte(data[head:head+4]), 0)
		switch ws.OpCode(data[0] & 0x0f) {
		case ws.OpText:
			f.subscribe(fd, payload)
		case ws.OpClose:
			f.hangUp(fd)
			return
		default: // pongs, and what our clients never send
		}
		data = data[head+4+n:]
	}
	if len(data) > 0 {
		f.hangUp(fd) // not one of our clients
	}
}

func (f *Server) subscribe(fd int, command []byte) {
	_, rest, ok := bytes.Cut(command, []byte(`"channel":"`))
	name, _, ok2 := bytes.Cut(rest, []byte(`"`))
	if !ok || !ok2 || !bytes.Contains(command, []byte(`"subscribe"`)) {
		return
	}
	ch := f.channels[string(name)]
	if ch == nil {
		ch = &channel{name: string(name)}
		f.channels[ch.name] = ch
	}
	ch.fds, ch.sorted = append(ch.fds, int32(fd)), false
	f.out = protocol.AppendMessageFrame(f.out[:0], &protocol.Message{
		Type: protocol.MessageSubscribed, Channel: ch.name, Timestamp: time.Now().UnixMilli(),
	})
	f.write(fd, f.out)
}

// publish builds the frame once, the same bytes that the gateway sends, and writes it to every subscriber; in mode
// joined it only adds it to what flush will write.
func (f *Server) publish(channel, payload []byte) {
	if f.publications == 0 {
		f.atFirst, f.acceptedAtFirst = host.ThreadUsage(), f.accepted
	}
	f.publications++
	ch := f.channels[string(bytes.TrimPrefix(channel, []byte(protocol.RedisPrefix)))]
	if ch == nil {
		return
	}
	message := protocol.Message{
		Type: protocol.MessageNotification, Channel: ch.name, Timestamp: time.Now().UnixMilli(),
		// Not a copy: a message is read, encoded and forgotten within this call.
		Data: unsafe.String(unsafe.SliceData(payload), len(payload)),
	}
	if f.mode == Joined {
		if ch.frames == 0 {
			f.touched = append(f.touched, ch)
		}
		ch.joined = protocol.AppendMessageFrame(ch.joined, &message)
		ch.frames++
		return
	}
	f.frame = protocol.AppendMessageFrame(f.frame[:0], &message)
	f.fanOut(ch, f.frame, 1)
}

// flush writes what was joined in this turn.
func (f *Server) flush() {
	for _, ch := range f.touched {
		f.fanOut(ch, ch.joined, ch.frames)
		ch.joined, ch.frames = ch.joined[:0], 0
	}
	f.touched = f.touched[:0]
}

func (f *Server) fanOut(ch *channel, bytes []byte, frames int) {
	if !ch.sorted {
		slices.SortFunc(ch.fds, func(a, b int32) int { return cmp.Compare(f.conns[a].order, f.conns[b].order) })
		ch.sorted = true
	}
	var broken []int
	for _, fd := range ch.fds {
		if n, err := wire.Send(int(fd), bytes); err != nil || n < len(bytes) {
			broken = append(broken, int(fd))
		}
	}
	f.writes += len(ch.fds)
	f.deliveries += (len(ch.fds) - len(broken)) * frames
	for _, fd := range broken {
		f.failed++
		f.hangUp(fd)
	}
}

// write sends an answer. A client that does not take it is gone.
func (f *Server) write(fd int, p []byte) {
	if n, err := wire.Send(fd, p); err != nil || n < len(p) {
		f.failed++
		f.hangUp(fd)
	}
}
