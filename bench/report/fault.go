package report

// Churn is a phase in which clients leave and come back all the time.
type Churn struct {
	*Delivered

	PerSecond float64 `json:"clientsPerSecond"` // asked for
	Left      uint64  `json:"left"`
	Back      Latency `json:"back"` // from the first SYN to `subscribed`
}

// Storm is everybody leaving and coming back at once, while publications go on.
type Storm struct {
	*Delivered

	Share     float64 `json:"share"`
	Left      int     `json:"left"`
	Seconds99 float64 `json:"seconds99"` // until 99 % of all were subscribed again
	Seconds   float64 `json:"seconds100"`
	Back      Latency `json:"back"`
}

// Slow is what -slow showed: how those that read fared while others did not, and whether those were told what they
// missed.
type Slow struct {
	Share   float64    `json:"share"`
	Stalled int        `json:"stalled"` // connections that stopped reading
	Others  *Delivered `json:"others"`  // the same load again, heard by the rest

	P99Before  int64  `json:"p99BeforeUs"` // of everybody, while everybody read; 0: unknown
	P99During  int64  `json:"p99DuringUs"` // of the others
	RSSBefore  int64  `json:"rssBefore,omitempty"`
	RSSPeak    int64  `json:"rssPeak,omitempty"`
	RSSBound   int64  `json:"rssBound,omitempty"` // what is still taken as bounded
	Cut        uint64 `json:"cut"`                // stalled connections that the server had closed
	CutWhy     string `json:"cutWhy,omitempty"`
	Told       int    `json:"told"`           // stalled connections that stayed and got a gap
	Unsignaled uint64 `json:"unsignaledLoss"` // deliveries missing on a connection that stayed and was told nothing
	Bounded    bool   `json:"bounded"`        // RSSPeak <= RSSBound, as far as the processes could be looked at
	OK         bool   `json:"ok"`             // others lost nothing, memory was bounded, every loss was signaled
}

// Vanish is what -vanish showed: clients that are gone without a word, and as many new ones.
type Vanish struct {
	Share    float64    `json:"share"`
	Vanished int        `json:"vanished"`
	Seconds  float64    `json:"seconds"`           // from the first reset until all new ones are subscribed
	Connect  Latency    `json:"connect"`           // of the new ones, from the first SYN to `subscribed`
	Held     []Held     `json:"held,omitempty"`    // what the gateways hold, before and after; absent without their metrics
	After    *Delivered `json:"after"`             // the load again: the new ones hear everything
	Problem  string     `json:"problem,omitempty"` // what is not back to the start
	OK       bool       `json:"ok"`
}

// Held is one of the gateways' own numbers that has to come back to where it was.
type Held struct {
	Metric string  `json:"metric"`
	Before float64 `json:"before"`
	After  float64 `json:"after"`
	Slack  float64 `json:"slack"` // how much more is still the same
}

// Outage is something that the gateways need, or one of them, killed and started again.
type Outage struct {
	Result *Delivered `json:"result"` // of what was published meanwhile

	Down        float64 `json:"downSeconds"`
	Healed      float64 `json:"healedSeconds"` // from its return until a publication reached everybody again
	Cut         uint64  `json:"cut"`           // connections that ended
	CutWhy      string  `json:"cutWhy,omitempty"`
	Told        int     `json:"told"`        // connections that were told of a gap
	Up          int     `json:"up"`          // connections in the end
	Unpublished int     `json:"unpublished"` // publications that Redis refused meanwhile
	Signaled    uint64  `json:"signaledLoss"`
	Unsignaled  uint64  `json:"unsignaledLoss"` // deliveries missing on a connection that stayed and was told nothing
	OK          bool    `json:"ok"`
}

// Drain is everybody leaving politely at the end.
type Drain struct {
	Known   bool    `json:"known"`   // the gateways told, through their admin listeners
	Seconds float64 `json:"seconds"` // until the gateways know of nobody, beside those that were there before
	Left    float64 `json:"left"`    // connections that they still know of
	RSS     int64   `json:"rss"`     // of the gateways afterwards
	OK      bool    `json:"ok"`
}

// Preflight is what a run was going to need, and what there was.
type Preflight struct {
	Lines []string `json:"lines"` // the arithmetic, for people

	FilesNeeded     uint64 `json:"filesNeeded"` // by the fullest of our processes
	FilesLimit      uint64 `json:"filesLimit"`
	MemoryNeeded    int64  `json:"memoryNeeded"`
	MemoryAvailable int64  `json:"memoryAvailable"`
}
