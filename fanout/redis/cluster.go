package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/carillon-ws/carillon/fanout"
)

const (
	// lookEvery is how often a Cluster is asked who has which slots, without cause.
	lookEvery = 10 * time.Second
	// busEvery is how often the link's node is asked who is connected to it, and lookTicks how many of these pass until
	// another node is asked whether the link's node is still part of the Cluster.
	busEvery  = time.Second
	lookTicks = 10
	// lookAgain is how soon it is asked again while a link is down, or names have no home.
	lookAgain = 200 * time.Millisecond
	// maxRepublish is how often a publication is sent again that no node has taken: its slot was moving, or the node
	// that was chosen does not answer.
	maxRepublish = 5
	// clusterPoolSize is how many connections to one node Publish uses at most.
	clusterPoolSize = 8
)

// topology says which master has which slots.
type topology struct {
	owners  [slots]string // address of the master; empty: none
	masters []string      // sorted
	nodes   []string      // masters and replicas, sorted
}

// cluster knows the nodes of a Cluster, and publishes to it.
type cluster struct {
	src    *Source
	client *goredis.ClusterClient

	// Guarded by mu.
	mu      sync.Mutex
	seeds   []string             // of the URL
	nodes   []string             // that the last topology named
	blamed  map[string]time.Time // when a link to the node was last not to be had
	picked  string               // node of the one link
	trouble string               // why the topology is unknown
}

func newCluster(r *Source) *cluster {
	opt := r.pool
	return &cluster{src: r, seeds: r.place.Addrs, blamed: make(map[string]time.Time), client: goredis.NewClusterClient(&goredis.ClusterOptions{
		Addrs: r.place.Addrs, Username: opt.Username, Password: opt.Password, ClientName: opt.ClientName,
		Dialer: opt.Dialer, DialTimeout: opt.DialTimeout, ReadTimeout: opt.ReadTimeout, WriteTimeout: opt.WriteTimeout,
		Protocol: 2, MaxRedirects: -1, MaxRetries: -1, DialerRetries: 1, DisableIdentity: true, DisableRoutingPolicies: true,
		ContextTimeoutEnabled: true, PipelinePoolSize: -1, PoolSize: clusterPoolSize,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})}
}

// publish publishes once. It tries again only when no node can have taken the publication. A classic publication may go
// to any node; it goes to the master of the channel's slot, which keeps the order of a channel, or, if that cannot be
// reached, to another one.
func (c *cluster) publish(ctx context.Context, channel, data string) (receivers int64, err error) {
	for try := 0; ; try++ {
		if c.src.cfg.Mode == Sharded {
			receivers, err = c.client.SPublish(ctx, channel, data).Result()
		} else {
			var node *goredis.Client
			if node, err = c.client.MasterForKey(ctx, channel); err == nil && try == 0 {
				receivers, err = node.Publish(ctx, channel, data).Result()
			} else {
				receivers, err = c.client.Publish(ctx, channel, data).Result()
			}
		}
		if err == nil || try == maxRepublish || !notTaken(err) {
			return receivers, err
		}
		c.client.ReloadState(ctx)
		if !sleep(ctx, time.Duration(1<<try)*10*time.Millisecond) {
			return 0, err
		}
	}
}

// notTaken reports whether err says that no node has taken a publication.
func notTaken(err error) bool {
	if reply, ok := errors.AsType[goredis.Error](err); ok {
		for _, prefix := range []string{"MOVED ", "TRYAGAIN ", "CLUSTERDOWN ", "LOADING "} {
			if strings.HasPrefix(reply.Error(), prefix) {
				return true
			}
		}
		return false
	}
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// look asks nodes, the preferred one first, until one tells the topology.
func (c *cluster) look(ctx context.Context, preferred string) (*topology, error) {
	c.mu.Lock()
	others := slices.Concat(c.nodes, c.seeds)
	c.mu.Unlock()
	rand.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
	if preferred != "" {
		others = slices.Concat([]string{preferred}, others)
	}
	var first error
	tried := make(map[string]bool)
	for _, addr := range others {
		if tried[addr] {
			continue
		}
		tried[addr] = true
		t, err := c.lookAt(ctx, addr)
		if err == nil {
			c.mu.Lock()
			c.nodes, c.trouble = t.nodes, ""
			c.mu.Unlock()
			return t, nil
		}
		first = cmp.Or(first, err)
		if ctx.Err() != nil {
			break
		}
	}
	first = c.src.place.scrub(fmt.Errorf("topology of the cluster: %w", first))
	c.mu.Lock()
	c.trouble = first.Error()
	c.mu.Unlock()
	return nil, first
}

func (c *cluster) lookAt(ctx context.Context, addr string) (*topology, error) {
	ctx, cancel := context.WithTimeout(ctx, c.src.cfg.DialTimeout)
	defer cancel()
	client := c.src.newClient(addr)
	defer client.Close()                             //nolint:errcheck // the one command was answered, or its error is returned
	ranges, err := client.ClusterSlots(ctx).Result() //nolint:staticcheck // Redis 6 has no CLUSTER SHARDS
	if err != nil {
		return nil, err
	}
	if len(ranges) == 0 {
		return nil, errors.New(addr + " knows no slots")
	}
	host, _, _ := net.SplitHostPort(addr)
	t := &topology{}
	masters, nodes := map[string]bool{}, map[string]bool{}
	for _, r := range ranges {
		for i, node := range r.Nodes {
			at := node.Addr
			if strings.HasPrefix(at, ":") { // a node that does not know its own address
				at = host + at
			}
			nodes[at] = true
			if i > 0 {
				continue
			}
			masters[at] = true
			for slot := max(r.Start, 0); slot <= r.End && slot < slots; slot++ {
				t.owners[slot] = at
			}
		}
	}
	t.masters, t.nodes = slices.Sorted(maps.Keys(masters)), slices.Sorted(maps.Keys(nodes))
	return t, nil
}

// problem is why the topology is unknown; empty: it is known, or nobody has asked.
func (c *cluster) problem() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trouble
}

// pick chooses the node of the one link of a classic subscription, which hears what is published at any node: a master,
// by chance, so that gateways spread; one that has failed lately comes last.
func (c *cluster) pick(ctx context.Context) (string, error) {
	c.mu.Lock()
	if c.picked != "" { // it was lost, or not to be had
		c.blamed[c.picked] = time.Now()
		c.picked = ""
	}
	c.mu.Unlock()
	t, err := c.look(ctx, "")
	if err != nil {
		return "", err
	}
	list := slices.Clone(t.masters)
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	c.mu.Lock()
	defer c.mu.Unlock()
	slices.SortStableFunc(list, func(a, b string) int { return c.blamed[a].Compare(c.blamed[b]) })
	c.picked = list[0]
	return c.picked, nil
}

// watch sees what the one link of a classic subscription cannot see by itself: a node that is no longer part of the
// Cluster, although it may answer for ever, and publications that were lost between nodes.
func (c *cluster) watch(ctx context.Context, k *keeper, sink fanout.Sink) {
	var (
		lk     *link
		client *goredis.Client
		before map[string]int64 // see peersOf
	)
	defer func() {
		if client != nil {
			_ = client.Close() // each command was answered, or has failed
		}
	}()
	for tick := 1; sleep(ctx, busEvery-rand.N(busEvery/4)); tick++ {
		if current := k.current.Load(); current != lk {
			if client != nil {
				_ = client.Close()
				client = nil
			}
			if lk = current; lk != nil {
				client, before = c.src.newClient(lk.node), lk.peers
			}
		}
		if lk == nil {
			continue
		}
		if now, err := peersOf(ctx, client); err == nil { // a user without +cluster|links goes without
			if before != nil && !maps.Equal(before, now) {
				sink.Lost()
			}
			before = now
		}
		if tick%lookTicks == 0 {
			c.leaveOutcast(ctx, k)
		}
	}
}

// peersOf tells since when each other node has had its connection to this one, over which it sends what is published
// there. What is under way on a connection that ends is lost.
func peersOf(ctx context.Context, node *goredis.Client) (map[string]int64, error) {
	links, err := node.ClusterLinks(ctx).Result()
	if err != nil {
		return nil, err
	}
	out := make(map[string]int64)
	for _, l := range links {
		if l.Direction == "from" {
			out[l.Node] = l.CreateTime
		}
	}
	return out, nil
}

// peersAtStart is peersOf a node that a link has just been opened to.
func (c *cluster) peersAtStart(ctx context.Context, addr string) map[string]int64 {
	client := c.src.newClient(addr)
	defer client.Close() //nolint:errcheck // the one command was answered, or is asked for again
	peers, err := peersOf(ctx, client)
	if err != nil {
		return nil
	}
	return peers
}

// leaveOutcast moves the link if its node is no longer part of the Cluster. Another node is asked.
func (c *cluster) leaveOutcast(ctx context.Context, k *keeper) {
	c.mu.Lock()
	picked := c.picked
	var others []string
	for _, node := range slices.Concat(c.nodes, c.seeds) {
		if node != picked {
			others = append(others, node)
		}
	}
	c.mu.Unlock()
	if picked == "" || len(others) == 0 {
		return
	}
	t, err := c.lookAt(ctx, others[rand.IntN(len(others))])
	if err == nil && !slices.Contains(t.nodes, picked) {
		k.move()
	}
}
