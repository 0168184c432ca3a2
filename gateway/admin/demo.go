package admin

import (
	"encoding/json"
	"net/http"
	"time"
)

// maxPause is the longest outage that the demo page may ask for.
const maxPause = time.Minute

// pauseRedis takes {"pause":ms} and stops Redis for so long. The route exists only with [Config].PauseRedis.
func (a *Admin) pauseRedis(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Pause int64 `json:"pause"` // ms
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10)).Decode(&asked); err != nil {
		http.Error(w, `the body must be like {"pause":4000}: `+err.Error(), http.StatusBadRequest)
		return
	}
	if asked.Pause <= 0 || asked.Pause > maxPause.Milliseconds() {
		http.Error(w, "a pause is from 1 to 60000 ms", http.StatusBadRequest)
		return
	}
	if err := a.cfg.PauseRedis(time.Duration(asked.Pause) * time.Millisecond); err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	answerJSON(w, asked)
}
