package redis

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/protocol"
)

// script is a Redis and the answers that are under way from it, for one link at a time.
type script struct {
	t       *testing.T
	rnd     *rand.Rand
	n       *names
	in      *fanout.Interest
	sink    fanout.Sink
	link    *link
	hears   map[string]bool // what Redis has on this link
	answers []command       // in order; their first done names are answered
	largest int
}

// step is the writer: what it writes, Redis does at once, and the answers come later.
func (s *script) step() {
	w := s.n.next(time.Now(), s.sink)
	if w.lk != s.link {
		s.t.Fatal("work for a link that is gone")
	}
	for _, cmd := range w.commands {
		if len(cmd.names) > maxNames {
			s.t.Fatalf("a command of %d names", len(cmd.names))
		}
		s.answers = append(s.answers, cmd)
	}
	waiting := 0
	for _, cmd := range s.answers {
		waiting += len(cmd.names) - cmd.done
	}
	s.largest = max(s.largest, waiting)
}

// answer reads one answer, or an error instead of a command's answers.
func (s *script) answer() {
	if len(s.answers) == 0 {
		return
	}
	cmd := &s.answers[0]
	if cmd.done == 0 && s.rnd.IntN(20) == 0 {
		s.n.refuse(cmd, s.rnd.IntN(2) == 0 && len(cmd.names) > 1, s.sink)
		s.answers = s.answers[1:]
		return
	}
	channel := cmd.names[cmd.done]
	s.hears[channel] = cmd.verb == "subscribe"
	if cmd.done++; cmd.done == len(cmd.names) {
		s.answers = s.answers[1:]
	}
	s.n.answered(cmd.verb, channel, s.sink)
}

func (s *script) up() {
	if s.link == nil {
		s.link, s.hears, s.answers = &link{}, map[string]bool{}, nil
		s.n.attach(s.link)
	}
}

func (s *script) down() {
	if s.link != nil {
		s.link, s.hears, s.answers = nil, map[string]bool{}, nil
		s.n.detach()
	}
}

// check: a client that was told that it is subscribed is heard for, or a gap is owed to it. UNSUBSCRIBE is the exception
// until its answer: by then nobody may have been told.
func (s *script) check() {
	s.t.Helper()
	for _, channel := range s.in.Names(nil) {
		full := protocol.RedisChannel(channel)
		if s.link == nil || !s.in.Settled(channel) || s.hears[full] {
			continue
		}
		if st := s.n.all[full]; st&owed == 0 {
			s.t.Fatalf("%s is settled, not heard, and no gap is owed: %08b", channel, st)
		}
	}
}

// Whatever comes and goes, links too: in the end Redis has what is wanted and nothing else, and at no time is a client
// told that it is subscribed, unless its channel is heard or a gap will follow.
func TestNamesAgainstModel(t *testing.T) {
	for seed := range uint64(15) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in := fanout.NewInterest()
				in.Follow(func() {})
				feeder := fanout.NewFeeder(in, []fanout.Loop{&counting{}, &counting{}})
				s := &script{
					t: t, rnd: rand.New(rand.NewPCG(seed, 1)), in: in, sink: feeder,
					n: newNames(&Config{Interest: in, Pattern: protocol.RedisPrefix + "*", Mode: Dynamic, Grace: time.Second}),
				}
				many := 20
				if seed%3 == 0 {
					many = 5000
				}
				for i := range 20_000 {
					switch s.rnd.IntN(16) {
					case 0, 1, 2, 3:
						in.Add(fmt.Sprint(s.rnd.IntN(many)), s.rnd.IntN(2))
					case 4, 5, 6, 7:
						in.Remove(fmt.Sprint(s.rnd.IntN(many)), s.rnd.IntN(2))
					case 8, 9:
						s.n.consider(fullNames(in.TakeChanged(nil)), 0)
					case 10, 11:
						s.step()
					case 12, 13, 14:
						for range s.rnd.IntN(600) {
							s.answer()
						}
					default:
						switch s.rnd.IntN(12) {
						case 0:
							s.up()
						case 1:
							if s.rnd.IntN(5) == 0 {
								s.down()
							}
						default:
							<-time.After(time.Duration(s.rnd.IntN(300)) * time.Millisecond)
						}
					}
					if many < 100 || i%100 == 0 {
						s.check()
					}
				}
				s.up()
				s.n.consider(fullNames(in.TakeChanged(nil)), 0)
				for range 200 {
					s.step()
					for len(s.answers) > 0 {
						s.answer()
					}
					<-time.After(refusedPause / 2)
				}
				s.check()
				var got []string
				for channel, heard := range s.hears {
					if heard {
						got = append(got, channel)
					}
				}
				want := fullNames(in.Names(nil))
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Errorf("Redis has %d channels, %d are wanted", len(got), len(want))
				}
				if s.n.asked != 0 || s.n.on != len(want) || s.n.restoring != 0 || !s.n.restored || len(s.n.all) != len(want) {
					t.Errorf("asked %d, on %d, restoring %d, restored %v, known %d; want 0 %d 0 true %d",
						s.n.asked, s.n.on, s.n.restoring, s.n.restored, len(s.n.all), len(want), len(want))
				}
				if s.largest > maxAsked {
					t.Errorf("%d answers were outstanding, want at most %d", s.largest, maxAsked)
				}
			})
		})
	}
}

func fullNames(names []string) []string {
	for i := range names {
		names[i] = protocol.RedisChannel(names[i])
	}
	return names
}
