package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/carillon-ws/carillon/gateway/server"
)

const (
	maxDisconnect     = 4 << 10
	disconnectTimeout = 5 * time.Second // for all loops to answer
)

// disconnectRequest is what POST /disconnect takes.
type disconnectRequest struct {
	User      string `json:"user"`
	Client    string `json:"client"`
	Reconnect bool   `json:"reconnect"`
}

type disconnected struct {
	Disconnected int `json:"disconnected"`
}

// disconnect closes all connections of a user, or the one with a client id: with 4008, after which the client does not
// reconnect, or with 1012, after which it does.
func (a *Admin) disconnect(w http.ResponseWriter, r *http.Request) {
	var req disconnectRequest
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxDisconnect))
	body.DisallowUnknownFields() // a misspelt {"userId": …} would disconnect nobody
	err := body.Decode(&req)
	if err == nil && body.More() {
		err = errors.New("more than one value")
	}
	if err != nil {
		http.Error(w, `the body must be JSON like {"user":"ann"} or {"client":"<clientId>"}, with "reconnect":true if the client may reconnect: `+err.Error(), http.StatusBadRequest)
		return
	}
	if (req.User == "") == (req.Client == "") {
		http.Error(w, "the body needs either user or client", http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), disconnectTimeout)
	defer cancel()
	ended, err := a.cfg.Kick(ctx, server.Kick{User: req.User, Client: req.Client, Return: req.Reconnect})
	if err != nil {
		http.Error(w, "a loop did not answer: "+err.Error(), http.StatusGatewayTimeout)
		return
	}
	answerJSON(w, disconnected{ended})
}
