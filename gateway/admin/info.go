package admin

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
)

// Info is the answer of /info: which gateway this is. The pages read it.
type Info struct {
	Name          string `json:"name"` // carillon
	Version       string `json:"version"`
	PID           int    `json:"pid"`
	Addr          string `json:"addr"`  // where clients connect, host:port
	URL           string `json:"url"`   // the same as ws://host:port/ws
	Admin         string `json:"admin"` // this listener; set by New
	Redis         string `json:"redis"` // URL without its password
	RedisEmbedded bool   `json:"redisEmbedded"`
	RedisPauses   bool   `json:"redisPauses,omitempty"` // POST /demo/redis exists; set by New
	Loops         int    `json:"loops"`
}

func (a *Admin) info(w http.ResponseWriter, r *http.Request) {
	answerJSON(w, a.cfg.Info.seenFrom(r.Host))
}

// seenFrom returns i with a URL that a client can open. A URL with all addresses, ws://0.0.0.0:8080/ws, gets the host of the
// request, which is one that reaches this gateway.
func (i Info) seenFrom(hostport string) Info {
	u, err := url.Parse(i.URL)
	if err != nil {
		return i
	}
	if addr, err := netip.ParseAddr(u.Hostname()); u.Hostname() != "" && (err != nil || !addr.IsUnspecified()) {
		return i
	}
	u.Host = net.JoinHostPort(hostOnly(hostport), u.Port())
	i.URL = u.String()
	return i
}
