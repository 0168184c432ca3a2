package server

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/carillon-ws/carillon/protocol"
)

func TestCommands(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { cfg.MaxChannels = 3 })
	p := dial(t, s)
	long := strings.Repeat("é", 200)
	for _, tc := range []struct {
		in   string
		want []message // Message and Timestamp are not compared
	}{
		{`{"type":"subscribe","channel":"a","id":"x1"}`, []message{{Type: "subscribed", Channel: "a", ID: []byte(`"x1"`)}}},
		{`{"type":"subscribe","channel":"a","id":2}`, []message{{Type: "subscribed", Channel: "a", ID: []byte(`2`)}}},
		{`{"type":"subscribe","channel":"notifications:a"}`, []message{{Type: "subscribed", Channel: "a"}}},
		{`{"type":"subscribe","channels":["b","notifications:c"],"id":"two"}`, []message{
			{Type: "subscribed", Channel: "b", ID: []byte(`"two"`)},
			{Type: "subscribed", Channel: "c", ID: []byte(`"two"`)},
		}},
		{`{"type":"subscribe","channel":"d","id":4}`, []message{{Type: "error", Code: "too_many_channels", Channel: "d", ID: []byte(`4`)}}},
		{`{"type":"subscribe","channels":["a","b","c","d"]}`, []message{{Type: "error", Code: "too_many_channels"}}},
		{`{"type":"subscribe","channel":"c"}`, []message{{Type: "subscribed", Channel: "c"}}},
		{`{"type":"unsubscribe","channel":"never"}`, []message{{Type: "unsubscribed", Channel: "never"}}},
		{`{"type":"unsubscribe","channel":"notifications:b","id":5}`, []message{{Type: "unsubscribed", Channel: "b", ID: []byte(`5`)}}},
		{`{"type":"subscribe","channel":"d"}`, []message{{Type: "subscribed", Channel: "d"}}},
		{`{"type":"ping","id":"p"}`, []message{{Type: "pong", ID: []byte(`"p"`)}}},
		{`{"type":"auth","token":"t"}`, []message{{Type: "error", Code: "bad_token"}}},
		{`{"type":"auth"}`, []message{{Type: "error", Code: "bad_token"}}},
		{`not json`, []message{{Type: "error", Code: "bad_json"}}},
		{`[]`, []message{{Type: "error", Code: "bad_json"}}},
		{``, []message{{Type: "error", Code: "bad_json"}}},
		{`{"type":"ping","id":{}}`, []message{{Type: "error", Code: "bad_json"}}},
		{`{"type":"publish","channel":"a","id":6}`, []message{{Type: "error", Code: "bad_type", ID: []byte(`6`)}}},
		{`{"channel":"a"}`, []message{{Type: "error", Code: "bad_type"}}},
		{`{"type":"subscribe","id":7}`, []message{{Type: "error", Code: "bad_channel", ID: []byte(`7`)}}},
		{`{"type":"subscribe","channel":7}`, []message{{Type: "error", Code: "bad_channel"}}},
		{`{"type":"subscribe","channel":""}`, []message{{Type: "error", Code: "bad_channel"}}},
		{`{"type":"subscribe","channel":"a\u0000b"}`, []message{{Type: "error", Code: "bad_channel", Channel: "a\x00b"}}},
		{`{"type":"subscribe","channel":"` + long + `"}`, []message{{Type: "error", Code: "bad_channel", Channel: long[:254] + "\ufffd"}}},
		{`{"type":"subscribe","channels":["","a"]}`, []message{{Type: "error", Code: "bad_channel"}, {Type: "subscribed", Channel: "a"}}},
	} {
		p.send(tc.in)
		for _, want := range tc.want {
			got := p.message()
			if got.Type == "error" && got.Message == "" {
				t.Errorf("%.60s: error without a text: %+v", tc.in, got)
			}
			got.Message, got.Timestamp = "", 0
			if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
				t.Errorf("%.60s:\n got %+v\nwant %+v", tc.in, got, want)
			}
		}
	}
	p.wantPong() // nothing else was said
}

func TestSubscribeTwiceCountsOnce(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, nil)
	p := dial(t, s)
	p.subscribe("a", "a", "notifications:a"[len(protocol.RedisPrefix):])
	if m := p.say(`{"type":"subscribe","channel":"notifications:a"}`); m.Channel != "a" {
		t.Fatalf("answer %+v, want channel a", m)
	}
	feeder.Publish("notifications:a", "once")
	p.wantNotification("a", "once")
	p.wantPong()
	if m := p.say(`{"type":"unsubscribe","channel":"a"}`); m.Type != "unsubscribed" {
		t.Fatalf("answer %+v", m)
	}
	feeder.Publish("notifications:a", "never")
	p.wantPong()
	if n := s.cfg.Interest.Channels(); n != 0 {
		t.Errorf("%d channels of interest without a subscriber", n)
	}
	eventually(t, "the gauges say so", func() bool {
		return sum(s, func(n LoopStats) int64 { return n.Channels + n.Subscriptions }) == 0
	})
}

func TestDataIsCarriedAsItIs(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, nil)
	p := dial(t, s)
	p.subscribe("a")
	for _, data := range []string{"", `{"title":"hi"}`, "\"\\\n\x00\u2028é", strings.Repeat("x", 1<<20)} {
		feeder.Publish("notifications:a", data)
		p.wantNotification("a", data)
	}
	feeder.Publish("notifications:a", "a\xffb")
	p.wantNotification("a", "a\ufffdb")
}

func TestFrames(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, nil)
	const ping = `{"type":"ping"}`

	t.Run("several in one segment", func(t *testing.T) {
		t.Parallel()
		p := dial(t, s)
		const n = 300
		p.write(strings.Repeat(clientFrame(true, ws.OpText, ping), n))
		for range n {
			p.want("pong")
		}
	})
	t.Run("byte by byte", func(t *testing.T) {
		t.Parallel()
		p := dial(t, s)
		for _, b := range []byte(clientFrame(true, ws.OpText, ping) + clientFrame(true, ws.OpPing, "abc")) {
			p.write(string([]byte{b}))
		}
		p.want("pong")
		p.wantOp(ws.OpPong, "abc")
	})
	t.Run("split at every byte", func(t *testing.T) {
		t.Parallel()
		p := dial(t, s)
		all := clientFrame(false, ws.OpText, `{"type":`) + clientFrame(true, ws.OpPing, "in between") +
			clientFrame(true, ws.OpContinuation, `"ping"}`)
		for at := 1; at < len(all); at++ {
			p.write(all[:at])
			if at > len(clientFrame(false, ws.OpText, `{"type":`))+len(clientFrame(true, ws.OpPing, "in between")) {
				p.wantOp(ws.OpPong, "in between") // proves that the first part was read on its own
			}
			p.write(all[at:])
			if at <= len(clientFrame(false, ws.OpText, `{"type":`))+len(clientFrame(true, ws.OpPing, "in between")) {
				p.wantOp(ws.OpPong, "in between")
			}
			p.want("pong")
		}
	})
	t.Run("empty ping and pong", func(t *testing.T) {
		t.Parallel()
		p := dial(t, s)
		p.write(clientFrame(true, ws.OpPong, "unasked") + clientFrame(true, ws.OpPing, ""))
		p.wantOp(ws.OpPong, "")
	})
	t.Run("half close after a command", func(t *testing.T) {
		t.Parallel()
		p := dial(t, s)
		p.send(ping)
		if err := p.nc.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		p.want("pong")
		p.wantEOF()
	})
}

// What a peer may do wrong ends with the right code, which the peer reads.
func TestCloseCodes(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { cfg.MaxMessage, cfg.MaxFragments = 1000, 4 })
	part := clientFrame(false, ws.OpText, "x")
	more := clientFrame(false, ws.OpContinuation, "x")
	for _, tc := range []struct {
		name, in string
		code     ws.StatusCode
	}{
		{"not masked", "\x81\x02hi", ws.StatusProtocolError},
		{"reserved bits", "\xc1\x80\x00\x00\x00\x00", ws.StatusProtocolError},
		{"reserved opcode", "\x83\x80\x00\x00\x00\x00", ws.StatusProtocolError},
		{"split control frame", clientFrame(false, ws.OpPing, "x"), ws.StatusProtocolError},
		{"long control frame", clientFrame(true, ws.OpPing, strings.Repeat("x", 126)), ws.StatusProtocolError},
		{"lone continuation", more, ws.StatusProtocolError},
		{"message inside a message", part + part, ws.StatusProtocolError},
		{"bad close payload", clientFrame(true, ws.OpClose, "x"), ws.StatusProtocolError},
		{"bad close code", closeFrame(1005, ""), ws.StatusProtocolError},
		{"binary", clientFrame(true, ws.OpBinary, "x"), ws.StatusUnsupportedData},
		{"not UTF-8", clientFrame(true, ws.OpText, "\xff"), ws.StatusInvalidFramePayloadData},
		{"not UTF-8, unfinished", clientFrame(false, ws.OpText, "\xff"), ws.StatusInvalidFramePayloadData},
		{"declared length", header64(1 << 40), ws.StatusMessageTooBig},
		{"one byte over", clientFrame(true, ws.OpText, strings.Repeat("x", 1001)), ws.StatusMessageTooBig},
		{"sum of fragments", clientFrame(false, ws.OpText, strings.Repeat("x", 1000)) + more, ws.StatusMessageTooBig},
		{"fragments", part + more + more + more + more, ws.StatusPolicyViolation},
		{"normal", closeFrame(ws.StatusNormalClosure, "bye"), ws.StatusNormalClosure},
		{"own code", closeFrame(4321, ""), 4321},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := dial(t, s)
			// What was asked before is answered before; what comes behind is not heard any more.
			p.write(clientFrame(true, ws.OpText, `{"type":"ping"}`) + tc.in + clientFrame(true, ws.OpText, `{"type":"subscribe","channel":"late"}`))
			p.want("pong")
			p.wantClose(tc.code)
			_ = p.nc.Close()
		})
	}
	t.Cleanup(func() {
		eventually(t, "all sockets are given back", func() bool { return sockets(s) == 0 })
		if n := s.cfg.Interest.Channels(); n != 0 {
			t.Errorf("%d channels of interest without a connection", n)
		}
	})
}

// RFC 6455 section 5.5.1: an empty close frame is answered by an empty one.
func TestEmptyCloseFrame(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, nil)
	p := dial(t, s)
	p.write(clientFrame(true, ws.OpClose, ""))
	p.wantOp(ws.OpClose, "")
	p.wantEOF()
}

// The limit is on the message, so one of exactly that size is a message like any other.
func TestLargestMessage(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { cfg.MaxMessage = 4096 })
	p := dial(t, s)
	const ping = `{"type":"ping"}`
	p.send(ping + strings.Repeat(" ", 4096-len(ping)))
	p.want("pong")
}

// T11 of the threat model: the peer must read the close frame although it goes on writing.
func TestCloseReachesAPeerThatFloods(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, nil)
	bystander := dial(t, s)
	p := dial(t, s)
	done := make(chan int)
	go func() {
		n, _ := io.WriteString(p.nc, header64(64<<20))
		chunk := make([]byte, 64<<10)
		for n < 64<<20 {
			m, err := p.nc.Write(chunk)
			n += m
			if err != nil {
				break
			}
		}
		done <- n
	}()
	op, payload, err := p.frame()
	if err != nil || op != ws.OpClose {
		t.Fatalf("frame %d %q, %v; want close", op, payload, err)
	}
	if code, _ := ws.ParseCloseFrameData(payload); code != ws.StatusMessageTooBig {
		t.Errorf("close %d, want 1009", code)
	}
	if n := receive(t, "the writer's end", done); n > 48<<20 {
		t.Errorf("%d bytes were read", n)
	}
	bystander.wantPong()
	eventually(t, "the socket is given back", func() bool { return sockets(s) == 1 })
}

// Whoever answers our close with silence, or goes on talking, is cut before long.
func TestLingeringIsBounded(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, nil)
	silent, talker := dial(t, s), dial(t, s)
	silent.write("\x81\x02hi")
	talker.write("\x81\x02hi")
	if _, _, err := silent.frame(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			if _, err := io.WriteString(talker.nc, strings.Repeat("x", 100)); err != nil {
				return
			}
		}
	}()
	eventually(t, "both are cut", func() bool { return sockets(s) == 0 })
}

func TestUnfinishedMessageDeadline(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { cfg.MessageTimeout = 2 * time.Second })
	for _, tc := range []struct{ name, begin, again string }{
		{"half a frame", clientFrame(true, ws.OpText, "hello")[:5], ""},
		{"a byte of a header", "\x81", ""},
		{"fragment and pings", clientFrame(false, ws.OpText, "x"), clientFrame(true, ws.OpPing, "p")},
		{
			"fragment and half a ping at a time", clientFrame(false, ws.OpText, "x") + clientFrame(true, ws.OpPing, "p")[:3],
			clientFrame(true, ws.OpPing, "p")[3:] + clientFrame(true, ws.OpPing, "p")[:3],
		},
		{"byte by byte", header64(60_000), "x"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := dial(t, s)
			p.write(tc.begin)
			ended := make(chan struct{})
			var wg chan struct{}
			if tc.again != "" {
				wg = make(chan struct{})
				go func() {
					defer close(wg)
					tick := time.NewTicker(100 * time.Millisecond)
					defer tick.Stop()
					for {
						select {
						case <-ended:
							return
						case <-tick.C:
							_, _ = io.WriteString(p.nc, tc.again)
						}
					}
				}()
			}
			p.wantClose(ws.StatusPolicyViolation)
			close(ended)
			if wg != nil {
				<-wg
			}
		})
	}
	t.Run("messages that are finished in time", func(t *testing.T) {
		t.Parallel()
		// Each is begun before the one before it is old: none is overdue although something always is unfinished.
		p := dial(t, s)
		frame := clientFrame(true, ws.OpText, `{"type":"ping"}`)
		p.write(frame[:5])
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for range 8 {
			<-tick.C
			p.write(frame[5:] + frame[:5])
			p.want("pong")
		}
	})
}

// A peer that vanishes without a word is forgotten at once, whatever it was in the middle of.
func TestPeersThatVanish(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, nil)
	for _, in := range []string{"", handshake[:30], handshake, handshake + "\x81", handshake + clientFrame(false, ws.OpText, "x")} {
		for range 10 {
			p := dialRaw(t, s)
			p.write(in)
			p.reset()
			p = dialRaw(t, s)
			p.write(in)
			_ = p.nc.Close()
		}
	}
	eventually(t, "all are accepted", func() bool { return sum(s, func(n LoopStats) uint64 { return n.Accepted }) == 100 })
	eventually(t, "all are gone", func() bool { return sockets(s) == 0 && s.sockets.Load() == 0 })
	if n := connections(s); n != 0 {
		t.Errorf("Connections = %d without a socket", n)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close() //nolint:errcheck // it held the port, and that is all
	running, _ := startServer(t, nil)
	limit, err := fileLimit()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"port of another program", func(cfg *Config) { cfg.Addr = taken.Addr().String() }, "is taken"},
		{"port of another gateway", func(cfg *Config) { cfg.Addr = running.Addr() }, "is taken"},
		{"no interest", func(cfg *Config) { cfg.Interest = nil }, "Interest"},
		{"loops", func(cfg *Config) { cfg.Loops = 65 }, "65 loops"},
		{"negative loops", func(cfg *Config) { cfg.Loops = -1 }, "-1 loops"},
		{"channels", func(cfg *Config) { cfg.MaxChannels = MostChannels + 1 }, "65536 channels"},
		{"burst", func(cfg *Config) { cfg.MessageBurst = MostBurst + 1 }, "32768 messages"},
		{"connections", func(cfg *Config) { cfg.MaxConnections = limit }, "open-file limit"},
		{"address", func(cfg *Config) { cfg.Addr = "nonsense" }, "nonsense"},
	} {
		cfg := Config{Addr: "127.0.0.1:0", Interest: running.cfg.Interest}
		tc.change(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: New = %v, want an error with %q", tc.name, err, tc.want)
		}
	}
}
