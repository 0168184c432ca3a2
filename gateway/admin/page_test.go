package admin

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"
)

func TestPageAllowsItsSocketAndNothingInline(t *testing.T) {
	t.Parallel()
	_, url := start(t, testConfig())
	got := do(t, "GET", url+"/", "")
	csp := got.header.Get("Content-Security-Policy")
	for _, want := range []string{
		"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self' ws://127.0.0.1:8080;", "frame-ancestors 'none'",
	} {
		if !strings.Contains(csp, want) {
			t.Errorf("policy %q lacks %q", csp, want)
		}
	}
	if strings.Contains(csp, "unsafe") {
		t.Errorf("policy %q allows something unsafe", csp)
	}
	if ct := got.header.Get("Content-Type"); ct != "text/html; charset=utf-8" {
		t.Errorf("Content-Type = %q", ct)
	}
	if inline := regexp.MustCompile(`<style|<script>| style=| on[a-z]+=`).FindString(got.body); inline != "" {
		t.Errorf("the page holds %q, which its policy forbids", inline)
	}
}

func TestPagePolicyNamesTheHostThatWasAsked(t *testing.T) {
	t.Parallel()
	cfg := testConfig()
	cfg.Info.URL = "ws://0.0.0.0:8080/ws"
	_, url := start(t, cfg)
	csp := do(t, "GET", url+"/", "", host("localhost:9090")).header.Get("Content-Security-Policy")
	if !strings.Contains(csp, "connect-src 'self' ws://localhost:8080;") {
		t.Errorf("policy = %q, want the socket at localhost", csp)
	}
}

func TestSocketSourceCannotExtendThePolicy(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"a;script-src *", "a b", "a'", "a,b"} {
		info := Info{URL: "ws://0.0.0.0:8080/ws"}.seenFrom(host)
		if got := socketSource(info.URL); strings.ContainsAny(got, " ;,'") {
			t.Errorf("socketSource for host %q = %q", host, got)
		}
	}
}

func TestPageIsSmallAndSelfContained(t *testing.T) {
	t.Parallel()
	entries, err := fs.ReadDir(pageFiles, "page/dist")
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	for _, entry := range entries {
		content, err := pageFiles.ReadFile("page/dist/" + entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		size += len(content)
		if entry.Name() != "index.html" && !isAsset("/"+entry.Name()) {
			t.Errorf("%s is embedded but not served", entry.Name())
		}
		for _, danger := range []string{"innerHTML", "insertAdjacentHTML", "document.write", "eval(", "https://", "//cdn"} {
			if strings.Contains(string(content), danger) {
				t.Errorf("%s contains %q", entry.Name(), danger)
			}
		}
	}
	if size > 30_000 {
		t.Errorf("the page is %d bytes, want at most 30,000", size)
	}
	if len(entries) != len(assets)+1 {
		t.Errorf("%d files in page, %d served", len(entries), len(assets)+1)
	}
}
