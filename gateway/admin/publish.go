package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/carillon-ws/carillon/protocol"
)

const (
	publishPath    = "/publish/"
	maxPublish     = 1 << 20
	publishTimeout = 5 * time.Second // for Redis to answer
)

// publishBefore handles the requests to publish before the mux sees them. The mux would clean the path, and redirect a
// request for channel a//b to another channel, a/b.
func (a *Admin) publishBefore(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, ok := strings.CutPrefix(r.URL.EscapedPath(), publishPath)
		if !ok {
			next.ServeHTTP(w, r)
			return
		}
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			http.Error(w, "use POST; the body is the data", http.StatusMethodNotAllowed)
			return
		}
		a.publish(w, r, name)
	})
}

// published is the answer. Receivers is how many subscribers in Redis got the message: gateways, and other clients of
// Redis; it is not the number of WebSocket clients.
type published struct {
	Channel   string `json:"channel"`
	Receivers int64  `json:"receivers"`
}

func (a *Admin) publish(w http.ResponseWriter, r *http.Request, escaped string) {
	name, err := url.PathUnescape(escaped)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	channel, err := protocol.ParseChannel(name)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPublish))
	if tooBig := (*http.MaxBytesError)(nil); errors.As(err, &tooBig) {
		http.Error(w, fmt.Sprintf("the data has more than %d bytes", maxPublish), http.StatusRequestEntityTooLarge)
		return
	}
	if err != nil {
		http.Error(w, "read the data: "+err.Error(), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), publishTimeout)
	defer cancel()
	receivers, err := a.cfg.Publish(ctx, channel, string(data))
	if err != nil {
		a.cfg.Log.Debug("publish failed in Redis", "channel", channel, "error", err)
		http.Error(w, "Redis did not accept the publication: "+err.Error(), http.StatusBadGateway)
		return
	}
	answerJSON(w, published{channel, receivers})
}
