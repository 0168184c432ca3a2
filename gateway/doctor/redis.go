package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/carillon-ws/carillon/fanout/redis"
)

const (
	redisPings   = 21 // odd, for the median
	redisPatient = 3 * time.Second
	// slowRoundTrip is when Redis is no longer next door. A publication pays half of it once; nothing breaks.
	slowRoundTrip = 5 * time.Millisecond
	// pubsubHard, pubsubSoft and pubsubSeconds are Redis's own defaults of client-output-buffer-limit pubsub. Below them a gateway that
	// is busy for a second may be cut off, and all its clients are told of a gap.
	pubsubHard, pubsubSoft, pubsubSeconds = 32 << 20, 8 << 20, 60
)

// CheckRedis judges the Redis behind a URL, if there is one. It writes nothing there.
func CheckRedis(ctx context.Context, rawURL string) []Result {
	reach := Result{
		Check: "Redis", Status: OK, Needed: "reachable, 6.2 or later",
		Why: "everything that clients hear comes from there; older ones get no fixes", Source: "redis.io/docs, security and version policy",
	}
	if rawURL == "" {
		return []Result{reach.skipped("not asked: -redis URL")}
	}
	place, err := redis.ParseURL(rawURL)
	if err != nil {
		reach.Value = err.Error()
		return []Result{reach.worse(Fail, "gateway doctor -redis redis://HOST:6379")}
	}
	opt, name := place.Options, place.Name
	opt.DialTimeout, opt.ReadTimeout, opt.MaxRetries = redisPatient, redisPatient, -1
	opt.Protocol = 2
	opt.DisableIdentity = true
	c := goredis.NewClient(opt)
	defer c.Close() //nolint:errcheck // every command was answered, or its error is in the results
	if err := c.Ping(ctx).Err(); err != nil {
		reach.Value = fmt.Sprintf("%s: %v", name, err)
		return []Result{reach.worse(Fail, redisCLI(name)+" PING (is it running, is the address right, does the password fit?)")}
	}
	return []Result{version(ctx, c, reach, name), roundTrip(ctx, c, name), pubsubBuffer(ctx, c, name)}
}

// redisCLI begins a command for this Redis; what is hidden of the URL is left to fill in.
func redisCLI(name string) string {
	if scheme, path, _ := strings.Cut(name, "://"); scheme == "unix" {
		_, path, _ = strings.Cut(path, "/") // a user may stand before it
		return "redis-cli -s /" + path
	}
	return "redis-cli -u " + name
}

func version(ctx context.Context, c *goredis.Client, r Result, name string) Result {
	info, err := c.Info(ctx).Result() // of all: before 7.0 it takes one section at most
	if err != nil {
		return r.skipped(name + " answers, but not INFO: " + err.Error())
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
		return r.skipped(name + " answers, but tells no version")
	}
	switch {
	case major < 6 || major == 6 && minor < 2:
		return r.worse(Warn, "upgrade Redis")
	case fields["role"] == "slave":
		r.Value += ", a replica"
		return r.worse(Warn, "give the gateway the primary: what is published on a replica is not heard elsewhere")
	default:
		return r
	}
}

func roundTrip(ctx context.Context, c *goredis.Client, name string) Result {
	r := Result{
		Check: "Redis round trip", Status: OK, Needed: "at most 5ms",
		Why: "each notification comes from there; farther away the link also fails more often", Source: "arithmetic: half of it is added to every latency",
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
	return r.worse(Warn, redisCLI(name)+" --latency (a Redis in the same zone?)")
}

// pubsubBuffer judges how much Redis keeps for a gateway that reads too slowly before it cuts it off.
func pubsubBuffer(ctx context.Context, c *goredis.Client, name string) Result {
	r := Result{
		Check: "Redis pubsub buffer", Status: OK, Needed: "at least 32 MiB, 8 MiB for 60 s, and a limit",
		Why: "beyond it Redis cuts the gateway off, and every client is told of a gap; without a limit a gateway that hangs takes Redis's memory", Source: "redis.io/docs, client output buffer limits (its defaults)",
	}
	answer, err := c.ConfigGet(ctx, "client-output-buffer-limit").Result()
	if err != nil {
		return r.skipped("CONFIG GET is not allowed: ask whoever runs it for client-output-buffer-limit pubsub")
	}
	hard, soft, seconds, err := parseBufferLimit(answer["client-output-buffer-limit"])
	if err != nil {
		return r.skipped(err.Error())
	}
	r.Value = fmt.Sprintf("%s, %s for %d s", limitText(hard), limitText(soft), seconds)
	hardOK := hard >= pubsubHard
	softOK := soft == 0 || soft >= pubsubHard || soft >= pubsubSoft && seconds >= pubsubSeconds // 0 is none: the hard one stands
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
		return 0, 0, 0, errors.New("client-output-buffer-limit says nothing about pubsub")
	}
	var v [3]uint64
	for i := range v {
		if v[i], err = strconv.ParseUint(fields[at+1+i], 10, 64); err != nil {
			return 0, 0, 0, fmt.Errorf("client-output-buffer-limit: %w", err)
		}
	}
	return v[0], v[1], v[2], nil
}
