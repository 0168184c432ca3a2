package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/fanout/redis"
	"github.com/carillon-ws/carillon/protocol"
)

const (
	redisPings   = 21 // odd, for the median
	redisPatient = 3 * time.Second
	// slowRoundTrip is the round trip above which Redis is too far away. Half of it is added to each latency; nothing fails.
	slowRoundTrip = 5 * time.Millisecond
	// pubsubHard, pubsubSoft and pubsubSeconds are Redis's own defaults of client-output-buffer-limit pubsub. With less,
	// Redis may disconnect a gateway that is busy for a second, and all its clients get a gap.
	pubsubHard, pubsubSoft, pubsubSeconds = 32 << 20, 8 << 20, 60
)

// CheckRedis judges the Redis that cfg names (URL, TLS, Mode), if it names one: the server that a link would be opened to.
// It stores nothing there.
func CheckRedis(ctx context.Context, cfg redis.Config) []Result {
	reach := Result{
		Check: "Redis", Status: OK, Needed: "reachable, 6.2 or later",
		Why: "all notifications come from Redis; older versions get no fixes", Source: "redis.io/docs, security and version policy",
	}
	if cfg.URL == "" {
		return []Result{reach.skipped("not checked: give -redis URL")}
	}
	cfg.Pattern, cfg.Log, cfg.Gateway = protocol.RedisPrefix+"*", slog.New(slog.DiscardHandler), "doctor-"+strconv.FormatUint(uint64(rand.Uint32()), 16)
	cfg.DialTimeout, cfg.ReplyTimeout, cfg.CanaryEvery = redisPatient, redisPatient, 50*time.Millisecond
	cfg.Interest = fanout.NewInterest()
	source, err := redis.NewSource(cfg)
	if err != nil {
		reach.Value = err.Error()
		return []Result{reach.worse(Fail, "gateway doctor -redis redis://HOST:6379")}
	}
	defer source.Close() //nolint:errcheck // every command was answered, or its error is in the results
	cfg.Interest.Add("carillon-doctor", 0)
	name := source.String()
	if err := source.Check(ctx); err != nil {
		reach.Value = err.Error()
		return []Result{reach.worse(Fail, "gateway doctor -redis with another URL, or another -interest")}
	}
	c, err := source.Client(ctx)
	if err == nil {
		defer c.Close() //nolint:errcheck // the errors of the commands are in the results
		err = c.Ping(ctx).Err()
		if isRefused(err) {
			err = nil // it answers
		}
	}
	if err != nil {
		reach.Value = fmt.Sprintf("%s: %v", name, err)
		return []Result{reach.worse(Fail, redisCLI(name)+" PING (is Redis running, and are address and password right?)")}
	}
	results := []Result{version(ctx, c, reach, name), roundTrip(ctx, c, name), hears(ctx, source), pubsubBuffer(ctx, c, name)}
	if cfg.Mode == redis.Sharded {
		results = append(results, shardsWhenDown(ctx, c, name))
	}
	return results
}

func isRefused(err error) bool { return err != nil && strings.HasPrefix(err.Error(), "NOPERM") }

// nobody is a [fanout.Sink] and a gateway's only loop that throws everything away.
type nobody struct{}

func (nobody) Publish(string, string) {}
func (nobody) Lost(...string)         {}
func (nobody) Settled(string)         {}
func (nobody) Flush()                 {}
func (nobody) Fork() fanout.Sink      { return nobody{} }

// hears does what a gateway does: it subscribes in the mode, to a channel too where channels are asked for one by one,
// and publishes a canary, which must come back on every link.
func hears(ctx context.Context, source *redis.Source) Result {
	r := Result{
		Check: "Redis permissions", Status: OK, Needed: "subscribe, publish, and the canary is heard",
		Why: "without them nothing is heard, or a link that is silently dead is not noticed", Source: "fanout/redis: ACLPattern, ACLDynamic, ACLSharded",
	}
	acl := map[redis.Mode]string{redis.Pattern: redis.ACLPattern, redis.Dynamic: redis.ACLDynamic, redis.Sharded: redis.ACLSharded}[source.Mode()]
	if source.Kind() == redis.Cluster && source.Mode() != redis.Sharded {
		acl += " " + redis.ACLCluster
	}
	fix := "ACL SETUSER USER " + acl
	ctx, cancel := context.WithTimeout(ctx, redisPatient)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = source.Run(ctx, nobody{}) // it returns nil
	}()
	defer func() { <-done }()
	defer cancel()
	began := time.Now()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		st, links := source.Stats(), source.Links()
		heard := 0
		for _, l := range links {
			switch {
			case l.Up && l.CanaryAge < 0:
				r.Value = "the canary is not allowed"
				return r.worse(Warn, fix)
			case l.Up && l.Canaries > 0:
				heard++
			}
		}
		switch {
		case st.Refused > 0:
			r.Value = "a channel below " + protocol.RedisPrefix + " is not allowed"
			return r.worse(Fail, fix)
		case st.Up && heard == len(links) && (source.Mode() == redis.Pattern || st.Channels > 0):
			r.Value = fmt.Sprintf("%s: heard on %d link(s) after %s", source.Mode(), heard, time.Since(began).Round(time.Millisecond))
			return r
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			r.Value = cmp.Or(st.LastError, "the canary is not heard")
			return r.worse(Fail, fix)
		}
	}
}

// shardsWhenDown judges what a node does with sharded Pub/Sub while some slots have no master.
func shardsWhenDown(ctx context.Context, c *goredis.Client, name string) Result {
	const setting = "cluster-allow-pubsubshard-when-down"
	r := Result{
		Check: "Redis shards when down", Status: OK, Needed: setting + " yes",
		Why: "else one master that is away silences the channels of all others", Source: "redis.conf of Redis 7",
	}
	answer, err := c.ConfigGet(ctx, setting).Result()
	if err != nil {
		return r.skipped("CONFIG GET is not allowed: ask whoever runs it for " + setting)
	}
	if r.Value = answer[setting]; r.Value == "yes" {
		return r
	}
	return r.worse(Warn, redisCLI(name)+" CONFIG SET "+setting+" yes (on every node, and in redis.conf)")
}

// redisCLI returns the begin of a redis-cli command for this Redis. Hidden parts of the URL must be filled in.
func redisCLI(name string) string {
	if before, _, found := strings.Cut(name, " (master "); found { // of Sentinels
		return "redis-cli -h MASTER (the address: redis-cli -u redis://" + strings.TrimPrefix(strings.TrimPrefix(before, "redis+sentinel://"), "rediss+sentinel://") + " SENTINEL MASTERS)"
	}
	name = strings.Replace(name, "+cluster://", "://", 1)
	if scheme, path, _ := strings.Cut(name, "://"); scheme == "unix" {
		_, path, _ = strings.Cut(path, "/") // a user may be before it
		return "redis-cli -s /" + path
	}
	return "redis-cli -u " + name
}

func version(ctx context.Context, c *goredis.Client, r Result, name string) Result {
	info, err := c.Info(ctx).Result() // all sections: before 7.0 INFO takes one section at most
	if err != nil {
		return r.skipped(name + " answers, but INFO fails: " + err.Error())
	}
	fields := map[string]string{}
	for line := range strings.Lines(info) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		fields[key] = value
	}
	v := fields["redis_version"]
	r.Value = fmt.Sprintf("%s at %s", v, name)
	var major, minor int
	if n, _ := fmt.Sscanf(v, "%d.%d", &major, &minor); n != 2 {
		return r.skipped(name + " answers, but INFO has no version")
	}
	switch {
	case major < 6 || major == 6 && minor < 2:
		return r.worse(Warn, "upgrade Redis")
	case fields["role"] == "slave":
		r.Value += ", a replica"
		return r.worse(Warn, "give the gateway the primary: a publication on a replica reaches no other Redis")
	default:
		return r
	}
}

func roundTrip(ctx context.Context, c *goredis.Client, name string) Result {
	r := Result{
		Check: "Redis round trip", Status: OK, Needed: "at most 5ms",
		Why: "each notification comes from Redis, and a longer way also fails more often", Source: "arithmetic: half of it is added to every latency",
	}
	took := make([]time.Duration, redisPings)
	for i := range took {
		began := time.Now()
		if err := c.Ping(ctx).Err(); err != nil {
			return r.skipped(err.Error())
		}
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	median := took[redisPings/2]
	r.Value = fmt.Sprintf("%s (slowest of %d: %s)", median.Round(time.Microsecond), redisPings, took[redisPings-1].Round(time.Microsecond))
	if median <= slowRoundTrip {
		return r
	}
	return r.worse(Warn, redisCLI(name)+" --latency (is there a Redis in the same zone?)")
}

// pubsubBuffer checks how much Redis keeps for a gateway that reads too slowly before Redis disconnects it.
func pubsubBuffer(ctx context.Context, c *goredis.Client, name string) Result {
	r := Result{
		Check: "Redis pubsub buffer", Status: OK, Needed: "at least 32 MiB, 8 MiB for 60 s, and a limit",
		Why: "over it Redis disconnects the gateway, and every client gets a gap; without a limit, a gateway that hangs fills the memory of Redis", Source: "redis.io/docs, client output buffer limits (its defaults)",
	}
	answer, err := c.ConfigGet(ctx, "client-output-buffer-limit").Result()
	if err != nil {
		return r.skipped("CONFIG GET is not allowed: ask the operator of Redis for client-output-buffer-limit pubsub")
	}
	hard, soft, seconds, err := parseBufferLimit(answer["client-output-buffer-limit"])
	if err != nil {
		return r.skipped(err.Error())
	}
	r.Value = fmt.Sprintf("%s, %s for %d s", limitText(hard), limitText(soft), seconds)
	hardOK := hard >= pubsubHard
	softOK := soft == 0 || soft >= pubsubHard || soft >= pubsubSoft && seconds >= pubsubSeconds // 0 is no soft limit: the hard one counts
	if hardOK && softOK {
		return r
	}
	return r.worse(Warn, fmt.Sprintf("%s CONFIG SET client-output-buffer-limit 'pubsub %d %d %d' (and in redis.conf)",
		redisCLI(name), max(hard, pubsubHard), max(soft, pubsubSoft), max(seconds, pubsubSeconds)))
}

func limitText(n uint64) string {
	if n == 0 {
		return "no limit"
	}
	return bytesText(n)
}

// parseBufferLimit reads "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60".
func parseBufferLimit(text string) (hard, soft, seconds uint64, err error) {
	fields := strings.Fields(text)
	at := slices.Index(fields, "pubsub")
	if at < 0 || len(fields) < at+4 {
		return 0, 0, 0, errors.New("client-output-buffer-limit has no value for pubsub")
	}
	var v [3]uint64
	for i := range v {
		if v[i], err = strconv.ParseUint(fields[at+1+i], 10, 64); err != nil {
			return 0, 0, 0, fmt.Errorf("client-output-buffer-limit: %w", err)
		}
	}
	return v[0], v[1], v[2], nil
}
