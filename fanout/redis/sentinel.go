package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

const (
	// askEvery is how often every Sentinel is asked who the master is: a new one is known that much later at most.
	askEvery = 500 * time.Millisecond
	// askPatience is how long the others are waited for when most have answered.
	askPatience = 100 * time.Millisecond
	// closeLater is how long a publication may still be under way to the old master.
	closeLater = 2 * time.Second
)

var errNoMaster = errors.New("no Sentinel tells the master's address")

// sentinels know which server is the master. All of them are asked, and the one that has seen the latest failover is
// believed: one that is cut off from the others, together with an old master, still names that.
//
// go-redis's own failover client is not used: it takes the first Sentinel that answers, and its switch does not reach a
// subscription.
type sentinels struct {
	src *Source

	// Guarded by mu.
	mu      sync.Mutex
	addrs   []string // of Sentinels: those in the URL first, then those they tell of
	clients map[string]*goredis.SentinelClient
	addr    string // of the master; empty: unknown
	epoch   int64  // in which it became the master
}

func newSentinels(r *Source) *sentinels {
	return &sentinels{src: r, addrs: slices.Clone(r.place.Addrs)}
}

// master returns the master's address as far as it is known, and asks if it is not.
func (s *sentinels) master(ctx context.Context) (string, error) {
	s.mu.Lock()
	addr := s.addr
	s.mu.Unlock()
	if addr != "" {
		return addr, nil
	}
	_, err := s.ask(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.addr == "" {
		if err == nil {
			err = errNoMaster
		}
		return "", err
	}
	return s.addr, nil
}

// watch asks again and again, until ctx ends. When the master has changed, the link moves, and so does what is published.
func (s *sentinels) watch(ctx context.Context, k *keeper) {
	ticks := time.NewTicker(askEvery)
	defer ticks.Stop()
	defer s.close()
	for {
		// An error is told by the link: it cannot be opened.
		if changed, _ := s.ask(ctx); changed {
			r := s.src
			r.cfg.Log.Info("redis master has changed", "redis", r.name, "master", s.known())
			old := r.publish.Swap(r.newPublisher())
			r.wg.Go(func() {
				sleep(ctx, closeLater)
				_ = old.Close() // what was under way has ended
			})
			k.move()
		}
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}

func (s *sentinels) known() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addr
}

// told is what one Sentinel says.
type told struct {
	addr   string
	epoch  int64
	others []string
	err    error
}

// ask asks every Sentinel at once and reports whether another master is known afterwards.
func (s *sentinels) ask(ctx context.Context) (changed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.src.cfg.DialTimeout)
	defer cancel()
	s.mu.Lock()
	addrs := slices.Clone(s.addrs)
	s.mu.Unlock()
	answers := make(chan told, len(addrs))
	for _, addr := range addrs {
		go func() { answers <- s.askOne(ctx, addr) }()
	}
	var best told
	answered := 0
	enough := time.NewTimer(s.src.cfg.DialTimeout)
	defer enough.Stop()
collect:
	for range addrs {
		select {
		case answer := <-answers:
			if answer.err != nil {
				err = answer.err
				continue
			}
			if answered++; answered > len(addrs)/2 { // who does not answer soon is not waited for
				enough.Reset(askPatience)
			}
			if best.addr == "" || answer.epoch > best.epoch {
				best = answer
			}
		case <-enough.C:
			break collect
		}
	}
	if best.addr == "" {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range best.others {
		if !slices.Contains(s.addrs, other) {
			s.addrs = append(s.addrs, other)
		}
	}
	if best.epoch < s.epoch && answered <= len(addrs)/2 {
		return false, nil // these have not heard of the failover yet
	}
	changed = s.addr != "" && s.addr != best.addr
	s.addr, s.epoch = best.addr, best.epoch
	return changed, nil
}

func (s *sentinels) askOne(ctx context.Context, addr string) told {
	client := s.client(addr)
	master, err := client.Master(ctx, s.src.place.master).Result()
	if err != nil {
		return told{err: fmt.Errorf("sentinel %s: %w", addr, err)}
	}
	epoch, _ := strconv.ParseInt(master["config-epoch"], 10, 64) // 0: an old Sentinel that tells none
	answer := told{addr: net.JoinHostPort(master["ip"], master["port"]), epoch: epoch}
	s.mu.Lock()
	known := len(s.addrs)
	s.mu.Unlock()
	if wanted, err := strconv.Atoi(master["num-other-sentinels"]); err == nil && wanted+1 > known {
		others, err := client.Sentinels(ctx, s.src.place.master).Result()
		if err == nil { // else the next time
			for _, other := range others {
				answer.others = append(answer.others, net.JoinHostPort(other["ip"], other["port"]))
			}
		}
	}
	return answer
}

func (s *sentinels) client(addr string) *goredis.SentinelClient {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.clients[addr]; c != nil {
		return c
	}
	opt := *s.src.pool
	opt.Addr, opt.PoolSize, opt.DB = addr, 1, 0
	opt.Username, opt.Password = s.src.place.sentinelUser, s.src.place.sentinelPass
	c := goredis.NewSentinelClient(&opt)
	if s.clients == nil {
		s.clients = make(map[string]*goredis.SentinelClient)
	}
	s.clients[addr] = c
	return c
}

func (s *sentinels) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for addr, c := range s.clients {
		_ = c.Close() // nothing is under way
		delete(s.clients, addr)
	}
}
