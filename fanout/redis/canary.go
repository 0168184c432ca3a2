package redis

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	goredis "github.com/redis/go-redis/v9"
)

const (
	// canaryPrefix begins the channels of canaries. They lie outside the prefix of notifications: if the pattern of every
	// gateway heard them, N gateways would cost Redis N² deliveries a second.
	canaryPrefix = "carillon:canary:"
	// defaultCanaryEvery is the time from canary to canary.
	defaultCanaryEvery = time.Second
	// muteTicks is how many ticks, two for each canary, may pass without the canary that Redis has taken: 1.5 s. A link
	// that has gone mute is noticed within 2.5 s. Ticks are counted, not time: a process that was stopped has fewer.
	muteTicks = 3
	// busyFactor is how much longer that is while publications come: the canary may be in the queue behind them.
	busyFactor = 10
	// maxDoublings bounds the patience with links of which each has been mute: muteTicks, doubled so often, is 24 s.
	maxDoublings = 4
)

var errMute = errors.New("the canary is not heard: Redis took it, and did not send it on this link")

// canary is what a link knows of its canary: a message that this gateway publishes and must hear.
type canary struct {
	id    string // of the link: what an earlier one has published does not count
	name  atomic.Pointer[string]
	heard atomic.Uint64 // number of the last one
}

func newCanary(channel string) *canary {
	c := &canary{id: uuid.NewString()[:8]}
	c.name.Store(&channel)
	return c
}

func (c *canary) channel() string { return *c.name.Load() }

func (c *canary) payload(number uint64) string { return c.id + ":" + strconv.FormatUint(number, 10) }

// hear takes what came on the canary's channel. It reports whether that is a canary of this link.
func (c *canary) hear(payload string) bool {
	id, text, _ := strings.Cut(payload, ":")
	number, err := strconv.ParseUint(text, 10, 64)
	if id != c.id || err != nil {
		return false
	}
	c.heard.Store(number)
	return true
}

// canaryChannel is the channel of this keeper's canary; empty: it has none.
func (k *keeper) canaryChannel() string {
	r := k.src
	if r.cfg.Gateway == "" || k.noCanary.Load() {
		return ""
	}
	if k.tag == nil {
		return canaryPrefix + r.cfg.Gateway
	}
	if tag := k.tag(); tag != "" {
		return canaryPrefix + r.cfg.Gateway + ":{" + tag + "}"
	}
	return ""
}

// canaryRefused notes that the user in the URL lacks the permission. PING judges the link then.
func (k *keeper) canaryRefused(err error) {
	k.mute.Store(nil)
	k.noCanary.Store(true)
	k.canaryAt.Store(0)
	if !k.saidCanary.Swap(true) {
		k.src.cfg.Log.Warn("redis refuses the canary: a link that is silently dead is noticed by PING only",
			"redis", k.name(), "reason", k.src.place.scrub(err), "allow", "&"+canaryPrefix+"*")
	}
}

// canaries publishes a canary for the keeper's link, again and again, and ends the link if Redis takes it and the link
// does not bring it. A canary that cannot be published proves nothing about hearing.
func (k *keeper) canaries(ctx context.Context) {
	ticks := time.NewTicker(k.src.cfg.CanaryEvery / 2)
	defer ticks.Stop()
	var (
		lk             *link
		node           *goredis.Client // to the link's own node, where that is needed
		sent, accepted uint64
		heard          uint64 // at the last tick
		unheard        int    // ticks since the last one was heard that was accepted
		messages       uint64 // that the link had brought when unheard began
		doublings      int
	)
	closeNode := func() {
		if node != nil {
			_ = node.Close() // each command was answered, or has failed
			node = nil
		}
	}
	defer closeNode()
	for tick := 0; ; tick++ {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		current := k.current.Load()
		if current != lk {
			lk, sent, accepted, heard, unheard, tick = current, 0, 0, 0, 0, 0
			closeNode()
		}
		if lk == nil || lk.canary == nil || k.noCanary.Load() {
			continue
		}
		if now := lk.canary.heard.Load(); now != heard || now >= accepted {
			heard, unheard, messages = now, 0, k.messages.Load()
			if now > 0 {
				doublings = 0
				k.mute.Store(nil)
			}
		} else {
			unheard++
		}
		patience := muteTicks << doublings
		if k.messages.Load() != messages {
			patience = muteTicks * busyFactor
		}
		if unheard >= patience {
			now := time.Now()
			k.mute.CompareAndSwap(nil, &now)
			doublings = min(doublings+1, maxDoublings)
			lk.end(errMute)
			lk = nil
			continue
		}
		if tick%2 == 1 {
			continue
		}
		sent++
		publish := k.src.publishTo
		if k.src.place.Kind == Cluster && k.src.cfg.Mode != Sharded {
			if node == nil {
				node = k.src.newClient(lk.node)
			}
			publish = func(ctx context.Context, channel, data string) (int64, error) {
				return node.Publish(ctx, channel, data).Result()
			}
		}
		_, err := publish(ctx, lk.canary.channel(), lk.canary.payload(sent))
		switch {
		case err == nil:
			accepted = sent
		case isRefused(err):
			k.canaryRefused(err)
		}
	}
}
