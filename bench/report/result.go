package report

import (
	"encoding/json"
	"math"
	"os"
	"time"

	"github.com/carillon-ws/carillon/bench/client"
	"github.com/carillon-ws/carillon/bench/host"
)

// Schema is the version of the JSON. Fields may be added to it; anything else makes a new one.
const Schema = 2

// Result is everything that a run found out. bench/README.md documents its JSON.
type Result struct {
	Schema  int          `json:"schema"`
	Kind    string       `json:"kind"` // load
	Name    string       `json:"name,omitempty"`
	When    time.Time    `json:"when"`
	Command []string     `json:"command"`
	Machine host.Machine `json:"machine"`
	Target  Target       `json:"target"`
	Load    Load         `json:"load"`
	Workers Workers      `json:"workers"`

	Error     string     `json:"error,omitempty"` // why the run ended before its last phase
	OK        bool       `json:"ok"`              // all delivered, once, in order, to connections that stayed, and every fault healed
	Valid     bool       `json:"valid"`           // bench kept up: the figures are the server's
	Figures   []*Figure  `json:"figures"`         // what was judged: what must arrive, faults, -slo, and what makes the run invalid
	Preflight *Preflight `json:"preflight,omitempty"`
	Ramp      Ramp       `json:"ramp"`
	Server    *Server    `json:"server,omitempty"` // only when its process is on this machine
	Steady    *Delivered `json:"steady,omitempty"`
	Burst     *Delivered `json:"burst,omitempty"`
	Churn     *Churn     `json:"churn,omitempty"`
	Storm     *Storm     `json:"storm,omitempty"`
	Slow      *Slow      `json:"slow,omitempty"`
	Vanish    *Vanish    `json:"vanish,omitempty"`
	Redis     *Outage    `json:"killRedis,omitempty"`
	Gateway   *Outage    `json:"killGateway,omitempty"`
	Drain     *Drain     `json:"drain,omitempty"`
	Ping      *Latency   `json:"ping,omitempty"`      // answers to the probe of -ping-every
	Cost      *host.Cost `json:"serverCPU,omitempty"` // of the server, per delivery; likewise
	Generator *host.Cost `json:"benchCPU,omitempty"`  // of bench itself, per delivery
	Phases    []*Phase   `json:"phases"`
	Series    []Second   `json:"series,omitempty"`
}

// Target says what was measured.
type Target struct {
	URL           string   `json:"url"`
	URLs          []string `json:"urls,omitempty"` // when there are several
	Name          string   `json:"name,omitempty"`
	Version       string   `json:"version,omitempty"`
	PID           int      `json:"pid,omitempty"`
	Loops         int      `json:"loops,omitempty"`
	Gateways      int      `json:"gateways"`
	Own           bool     `json:"own"` // started for this run
	RedisEmbedded bool     `json:"redisEmbedded"`
}

// Load says what was asked of it.
type Load struct {
	Connections int     `json:"connections"`
	Channels    int     `json:"channels"`
	Zipf        float64 `json:"zipf,omitempty"`
	Rate        float64 `json:"rate,omitempty"`     // open loop
	Inflight    int     `json:"inflight,omitempty"` // closed loop
	Payload     int     `json:"payload"`
	Seconds     float64 `json:"seconds"`
	Ramp        float64 `json:"ramp,omitempty"`
	Publish     string  `json:"publish,omitempty"` // how: redis, http, floor, exec
}

// Workers says who the clients were.
type Workers struct {
	Processes int     `json:"processes"`
	Threads   int     `json:"threads"` // in all
	Remote    []Clock `json:"remote,omitempty"`
}

// Clock is the clock of a worker on another machine, compared with ours.
type Clock struct {
	Worker   string `json:"worker"`
	OffsetUs int64  `json:"offsetUs"`
	BoundUs  int64  `json:"boundUs"` // latencies below this mean nothing
}

// Ramp is how connecting went.
type Ramp struct {
	Connections int     `json:"connections"`
	Seconds     float64 `json:"seconds"`
	PerSecond   float64 `json:"perSecond"`
	Latency     Latency `json:"latency"` // from the first SYN to `subscribed`
}

// Server is what the server's processes look like from outside, connected and idle.
type Server struct {
	RSSBefore     int64      `json:"rssBefore"` // bytes
	RSSAfter      int64      `json:"rssAfter"`
	PerConnection float64    `json:"rssPerConnection"` // bytes
	Threads       int        `json:"threads"`
	Goroutines    int        `json:"goroutines,omitempty"`
	Connect       *host.Cost `json:"connectCPU"` // per connect, upgrade and subscribe
	IdleCores     float64    `json:"idleCores"`
	SlabEach      float64    `json:"slabPerConnection"` // kernel objects, both ends when both are here, bytes
	BenchRSSEach  float64    `json:"benchRSSPerConnection"`
	MemoryEach    float64    `json:"memoryPerConnection"` // of the whole machine: what is available less, bytes
}

// Delivered is what one phase of publishing brought.
type Delivered struct {
	client.Counts // Received is each delivery once

	Publications int     `json:"publications"`
	Seconds      float64 `json:"seconds"` // first intended time to last delivery
	Expected     uint64  `json:"expected"`
	Closed       int     `json:"closed"` // connections that ended before the phase did
	ClosedWhy    string  `json:"closedWhy,omitempty"`

	PerSecond     float64 `json:"deliveriesPerSecond"`
	Delivery      Latency `json:"delivery"`
	First         Latency `json:"firstSubscriber"`
	Last          Latency `json:"lastSubscriber"`
	PublisherLag  Latency `json:"publisherLag"`
	PublisherWait Latency `json:"publisherWait"`        // of that lag, waiting for the answer to publications before
	OnTime        Latency `json:"deliveryOnTime"`       // delivery without what bench may have been late to read
	LastOnTime    Latency `json:"lastOnTime"`           // lastSubscriber without what bench was late to publish and may have been late to read
	Batch         float64 `json:"publicationsPerBatch"` // that were handed to Redis, or whatever takes them, at once
	Idle          float64 `json:"idle,omitempty"`       // share of a closed loop's places that were empty because bench was late
}

// Clean reports whether everything was delivered, once, in order, to connections that stayed.
func (r *Delivered) Clean() bool {
	return r.Lost == 0 && r.Duplicated == 0 && r.Reordered == 0 && r.Misdelivered == 0 && r.Closed == 0
}

// Phase is one row of a run.
type Phase struct {
	Name    string     `json:"name"`
	Begin   float64    `json:"begin"` // seconds since the run began
	End     float64    `json:"end"`
	Result  *Delivered `json:"result,omitempty"`  // of publishing
	Connect *Latency   `json:"connect,omitempty"` // of connecting
	Curve   []Point    `json:"curve,omitempty"`   // of Result.Delivery, or of Connect
	Busiest float64    `json:"busy"`              // share of the phase that bench was reading: its busiest thread, or all threads of a machine over its CPUs
}

// Seconds is how long the phase took, for people.
func (p *Phase) Seconds() string { return micros(int64((p.End - p.Begin) * 1e6)) }

// Second is one sample of the series over time.
type Second struct {
	At         float64 `json:"at"` // seconds since the run began
	Connected  int     `json:"connected"`
	Closed     int     `json:"closed,omitempty"`
	Deliveries float64 `json:"deliveriesPerSecond"`
	P50        int64   `json:"p50Us,omitempty"` // of the deliveries since the sample before
	P99        int64   `json:"p99Us,omitempty"`
	Max        int64   `json:"maxUs,omitempty"`
	Cores      float64 `json:"serverCores,omitempty"`
	RSS        int64   `json:"serverRSS,omitempty"`
	Bench      float64 `json:"benchCores"`
	Available  int64   `json:"memoryAvailable"`
	Heap       float64 `json:"serverHeap,omitempty"`    // in use, of the first gateway
	GCs        float64 `json:"serverGCs,omitempty"`     // so far, of the first gateway
	GCPause    float64 `json:"serverGCPause,omitempty"` // seconds so far
}

// Latency is a histogram's summary, in microseconds.
type Latency struct {
	Count int64 `json:"count"`
	P50   int64 `json:"p50Us"`
	P99   int64 `json:"p99Us"`
	P999  int64 `json:"p999Us"`
	Max   int64 `json:"maxUs"`
}

// Summarize is a histogram in five numbers.
func Summarize(h client.Histogram) Latency {
	return Latency{Count: h.TotalCount(), P50: h.ValueAtQuantile(50), P99: h.ValueAtQuantile(99), P999: h.ValueAtQuantile(99.9), Max: h.Max()}
}

// Point is one point of a percentile curve.
type Point struct {
	Percentile float64 `json:"p"`
	Us         int64   `json:"us"`
}

// CurveOf is a histogram as a curve: ten points to each factor of ten between it and 100 %, as far as there are values.
func CurveOf(h client.Histogram) (curve []Point) {
	if h.TotalCount() == 0 {
		return nil
	}
	const perDecade = 10
	for i := 0; ; i++ {
		left := math.Pow(10, -float64(i)/perDecade) // 1 is all values, 0.01 those above p99
		if left*float64(h.TotalCount()) < 1 {
			break
		}
		p := 100 * (1 - left)
		curve = append(curve, Point{Percentile: p, Us: h.ValueAtQuantile(p)})
	}
	return append(curve, Point{Percentile: 100, Us: h.Max()})
}

// WriteJSON writes a result to a file.
func WriteJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}
