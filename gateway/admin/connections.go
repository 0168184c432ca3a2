package admin

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/carillon-ws/carillon/gateway/server"
	"github.com/carillon-ws/carillon/protocol"
)

const (
	defaultListed      = 100
	connectionsTimeout = 5 * time.Second // for all loops to answer
)

// connections lists the connections that match ?user=, ?channel= and ?backlogged, ?limit= at most.
func (a *Admin) connections(w http.ResponseWriter, r *http.Request) {
	q, err := connectionQuery(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), connectionsTimeout)
	defer cancel()
	list, err := a.cfg.Connections(ctx, q)
	if err != nil {
		http.Error(w, "a loop did not answer: "+err.Error(), http.StatusGatewayTimeout)
		return
	}
	answerJSON(w, list)
}

func connectionQuery(values url.Values) (server.ConnectionQuery, error) {
	q := server.ConnectionQuery{Limit: defaultListed}
	for name, given := range values {
		value := given[len(given)-1]
		switch name {
		case "user":
			q.User = value
		case "channel":
			channel, err := protocol.ParseChannel(value)
			if err != nil {
				return q, fmt.Errorf("channel: %w", err)
			}
			q.Channel = channel
		case "backlogged":
			yes, err := strconv.ParseBool(cmp.Or(value, "true")) // ?backlogged alone is true
			if err != nil {
				return q, fmt.Errorf("backlogged: it takes true, false or no value, not %q", value)
			}
			q.Backlogged = yes
		case "limit":
			n, err := strconv.Atoi(value)
			if err != nil || n < 1 || n > server.MaxConnectionList {
				return q, fmt.Errorf("limit: between 1 and %d are possible", server.MaxConnectionList)
			}
			q.Limit = n
		default: // a misspelt ?usr=ann would list all connections
			return q, fmt.Errorf("unknown parameter %q; the parameters are user, channel, backlogged and limit", name)
		}
	}
	return q, nil
}
