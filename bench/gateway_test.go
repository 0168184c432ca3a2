package main

import (
	"io"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/carillon-ws/carillon/bench/benchtest"
	"github.com/carillon-ws/carillon/bench/floor"
	"github.com/carillon-ws/carillon/bench/settings"
	"github.com/carillon-ws/carillon/bench/target"
)

// startTestAdmin is the admin listener of this process, which says that its gateway is at url.
func startTestAdmin(t *testing.T, url string) string {
	t.Helper()
	admin := httptest.NewServer(standInAdmin(target.Info{Name: "stand-in", PID: os.Getpid(), URL: url, Redis: "redis://127.0.0.1:1"}))
	t.Cleanup(admin.Close)
	return admin.URL
}

// An admin listener speaks for one gateway: what it tells must not be counted for another.
func TestAdminListenerSpeaksForItsOwnGateway(t *testing.T) {
	t.Parallel()
	one, two := benchtest.StartFloor(t, floor.Each), benchtest.StartFloor(t, floor.Each)
	admin := startTestAdmin(t, one.URL)
	f, err := target.Find(t.Context(), &settings.Config{
		URLs: []string{one.URL, two.URL}, Admins: []string{admin}, Publish: settings.PublishRedis,
		Given: map[string]bool{"url": true, "admin": true},
	}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	all := f.All()
	if all[0].Admin == nil || all[1].Admin != nil || all[1].Local || f.Local() || f.Redis != "redis://127.0.0.1:1" {
		t.Errorf("gateways %+v, %+v, Redis %q: the second's process is not known", all[0].Info, all[1].Info, f.Redis)
	}
	// Likewise that of -admin's default, when -url names a gateway that is not its own.
	_, err = target.Find(t.Context(), &settings.Config{
		URLs: []string{two.URL}, Admins: []string{admin}, Publish: settings.PublishRedis, Given: map[string]bool{"url": true},
	}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "belongs to "+one.URL) {
		t.Errorf("error %v, want that the admin listener belongs to another", err)
	}
}
