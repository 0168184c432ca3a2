package main

import (
	"io"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/carillon-ws/carillon/bench/floor"
)

// startTestAdmin is the admin listener of this process, which says that its gateway is at url.
func startTestAdmin(t *testing.T, url string) string {
	t.Helper()
	admin := httptest.NewServer(standInAdmin(info{Name: "stand-in", PID: os.Getpid(), URL: url, Redis: "redis://127.0.0.1:1"}))
	t.Cleanup(admin.Close)
	return admin.URL
}

// An admin listener speaks for one gateway: what it tells must not be counted for another.
func TestAdminListenerSpeaksForItsOwnGateway(t *testing.T) {
	t.Parallel()
	one, two := startTestFloor(t, floor.Each), startTestFloor(t, floor.Each)
	admin := startTestAdmin(t, one.URL)
	f, err := findFleet(t.Context(), &config{
		urls: []string{one.URL, two.URL}, admins: []string{admin}, publish: publishRedis,
		given: map[string]bool{"url": true, "admin": true},
	}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	all := f.all()
	if all[0].admin == nil || all[1].admin != nil || all[1].local || f.local() || f.redis != "redis://127.0.0.1:1" {
		t.Errorf("gateways %+v, %+v, Redis %q: the second's process is not known", all[0].info, all[1].info, f.redis)
	}
	// Likewise that of -admin's default, when -url names a gateway that is not its own.
	_, err = findFleet(t.Context(), &config{
		urls: []string{two.URL}, admins: []string{admin}, publish: publishRedis, given: map[string]bool{"url": true},
	}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "belongs to "+one.URL) {
		t.Errorf("error %v, want that the admin listener belongs to another", err)
	}
}
