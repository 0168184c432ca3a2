package identity

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// jwk returns a public key as JSON, with more as further members.
func jwk(key crypto.PublicKey, more string) string {
	text := base64.RawURLEncoding.EncodeToString
	switch key := key.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf(`{"kty":"RSA","n":%q,"e":%q%s}`, text(key.N.Bytes()), text(big.NewInt(int64(key.E)).Bytes()), more)
	case *ecdsa.PublicKey:
		point, err := key.Bytes()
		if err != nil {
			panic(err)
		}
		return fmt.Sprintf(`{"kty":"EC","crv":%q,"x":%q,"y":%q%s}`, key.Params().Name, text(point[1:len(point)/2+1]), text(point[len(point)/2+1:]), more)
	case ed25519.PublicKey:
		return fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","x":%q%s}`, text(key), more)
	default:
		panic("no such key")
	}
}

func kid(id string) string { return fmt.Sprintf(`,"kid":%q`, id) }

func jwks(keys ...string) string { return `{"keys":[` + strings.Join(keys, ",") + `]}` }

func TestParseKeys(t *testing.T) {
	t.Parallel()
	rsaKey, curve, edwards := public(testKeys()["RS256"]), public(testKeys()["ES256"]), public(testKeys()["EdDSA"])
	private := testKeys()["EdDSA"].key.(ed25519.PrivateKey)
	tests := []struct {
		name string
		body string
		want []keyName // nil: an error
	}{
		{"one of each", jwks(jwk(rsaKey, kid("1")), jwk(curve, kid("2")), jwk(edwards, kid("3"))), []keyName{{algES256, "2"}, {algEdDSA, "3"}, {algRS256, "1"}}},
		{"with use and alg", jwks(jwk(rsaKey, kid("1")+`,"use":"sig","alg":"RS256"`)), []keyName{{algRS256, "1"}}},
		{"one kid for two kinds", jwks(jwk(rsaKey, kid("1")), jwk(curve, kid("1"))), []keyName{{algES256, "1"}, {algRS256, "1"}}},
		{"without kid", jwks(jwk(rsaKey, "")), []keyName{}},
		{"for encryption", jwks(jwk(rsaKey, kid("1")+`,"use":"enc"`), jwk(curve, kid("2"))), []keyName{{algES256, "2"}}},
		{"of another algorithm", jwks(jwk(rsaKey, kid("1")+`,"alg":"PS256"`), jwk(curve, kid("2"))), []keyName{{algES256, "2"}}},
		{"a secret", jwks(`{"kty":"oct","kid":"1","k":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY","alg":"HS256"}`, jwk(curve, kid("2"))), []keyName{{algES256, "2"}}},
		{"a private key", jwks(jwk(edwards, kid("1")+fmt.Sprintf(`,"d":%q`, base64.RawURLEncoding.EncodeToString(private.Seed()))), jwk(curve, kid("2"))), []keyName{{algES256, "2"}}},
		{"keys nobody knows", jwks(`{"kty":"new","kid":"1"}`, `{}`, `1`, `null`, `{"kty":"OKP","crv":"Ed448","x":"AA"}`, `{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}`, jwk(curve, kid("2"))), []keyName{{algES256, "2"}}},
		{"broken keys", jwks(`{"kty":"RSA","n":"AQ","e":"AQAB"}`, `{"kty":"RSA"}`, `{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}`, `{"kty":"OKP","crv":"Ed25519","x":"AA"}`, jwk(curve, kid("2"))), []keyName{{algES256, "2"}}},
		{"no keys", jwks(), nil},
		{"no key for us", jwks(`{"kty":"oct","k":"AA"}`), nil},
		{"no list", `{}`, nil},
		{"keys an object", `{"keys":{}}`, nil},
		{"null", `null`, nil},
		{"a page", `<html>`, nil},
		{"nothing", ``, nil},
		{"cut off", jwks(jwk(rsaKey, kid("1")))[:40], nil},
		{"deep", `{"keys":` + strings.Repeat("[", 20000), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			set, _, err := parseKeys([]byte(tt.body))
			if tt.want == nil {
				if err == nil {
					t.Errorf("parseKeys = %+v, want an error", set)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := make([]keyName, 0)
			for name := range set.named {
				got = append(got, name)
			}
			slices.SortFunc(got, func(a, b keyName) int { return strings.Compare(a.alg, b.alg) })
			if !slices.Equal(got, tt.want) {
				t.Errorf("parseKeys = %v, want %v", got, tt.want)
			}
		})
	}
}

// TestKeySetFind verifies tokens with and without kid, with sets of one key and of several.
func TestKeySetFind(t *testing.T) {
	t.Parallel()
	first, second, third := newEdwards(t), newEdwards(t), newEdwards(t)
	curve := testKeys()["ES256"]
	one := jwks(jwk(public(first), kid("1")), jwk(public(curve), kid("c")))
	several := jwks(jwk(public(first), kid("1")), jwk(public(second), kid("2")), jwk(public(third), kid("3")))
	tests := []struct {
		name string
		set  string
		key  SigningKey
		kid  string
		want error
	}{
		{"named", one, first, "1", nil},
		{"no kid, one fits", one, first, "", nil},
		{"no kid, another signed", one, second, "", errSignature},
		{"no kid, several fit", several, third, "", errNoKeyID},
		{"no kid, none fits", several, curve, "", ErrUnknownKey},
		{"the third", several, third, "3", nil},
		{"the kid of another", several, third, "2", errSignature},
		{"kid of a key of another kind", one, first, "c", ErrUnknownKey},
		{"unknown kid", one, first, "9", ErrUnknownKey},
		{"HS256", one, testKeys()["HS256"], "1", errSignature},
		{"HS256 with the public key", one, SigningKey{jwt.SigningMethodHS256, []byte(public(first).(ed25519.PublicKey))}, "1", errSignature},
		{"nothing fetched yet", "", first, "1", ErrUnknownKey},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := newVerifier(t, Config{JWKSURL: "https://issuer.example/"})
			if tt.set != "" {
				set, _, err := parseKeys([]byte(tt.set))
				if err != nil {
					t.Fatal(err)
				}
				v.remote.current.Store(set)
			}
			id, err := v.Verify(mint(t, tt.key, Claims{Subject: "42", KeyID: tt.kid}), now)
			if !errors.Is(err, tt.want) || (id == nil) != (err != nil) {
				t.Errorf("Verify = %v, %v, want %v", id, err, tt.want)
			}
			if asked := len(v.remote.ask) == 1; asked != errors.Is(tt.want, ErrUnknownKey) {
				t.Errorf("asked for a new set: %v", asked)
			}
		})
	}
}

// issuer is a key server without a network, so that it works in a bubble of synctest.
type issuer struct {
	mu      sync.Mutex
	body    string
	status  int  // 0: 200
	hang    bool // do not answer until the request is cancelled
	fetches int
}

func (s *issuer) set(change func(*issuer)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *issuer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fetches
}

func (s *issuer) RoundTrip(req *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.fetches++
	body, status, hang := s.body, s.status, s.hang
	s.mu.Unlock()
	if hang {
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	if status == 0 {
		status = http.StatusOK
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body)), Header: http.Header{}, Request: req}, nil
}

// start runs a verifier with an issuer until the test ends. For tests in a bubble of synctest.
func start(t *testing.T, s *issuer) *Verifier {
	t.Helper()
	v := newVerifier(t, Config{
		JWKSURL: "https://issuer.example/jwks",
		Client:  &http.Client{Transport: s},
		Log:     slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(t.Context())
	var err error
	var wg sync.WaitGroup
	wg.Go(func() { err = v.Run(ctx) })
	t.Cleanup(func() {
		before := time.Now()
		cancel()
		wg.Wait()
		if err != nil || time.Since(before) > 0 {
			t.Errorf("Run = %v after %v, want nil at once", err, time.Since(before))
		}
	})
	synctest.Wait()
	return v
}

// check verifies a token, and fails the test if Verify blocked: in a bubble time passes only while all goroutines wait.
func check(t *testing.T, v *Verifier, token []byte, want error) {
	t.Helper()
	before := time.Now()
	if _, err := v.Verify(token, now); !errors.Is(err, want) {
		t.Errorf("Verify = %v, want %v", err, want)
	}
	if took := time.Since(before); took != 0 {
		t.Errorf("Verify waited %v", took)
	}
}

// pass lets time pass.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestRotation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		before, after := newEdwards(t), newEdwards(t)
		old, fresh := mint(t, before, Claims{Subject: "42", KeyID: "old"}), mint(t, after, Claims{Subject: "42", KeyID: "new"})
		s := &issuer{body: jwks(jwk(public(before), kid("old")))}
		v := start(t, s)
		check(t, v, old, nil)
		pass(time.Minute)

		s.set(func(s *issuer) { s.body = jwks(jwk(public(after), kid("new"))) })
		check(t, v, old, nil)
		check(t, v, fresh, ErrUnknownKey)
		synctest.Wait() // the new set is fetched at once
		check(t, v, fresh, nil)
		check(t, v, old, ErrUnknownKey) // withdrawn
		check(t, v, old, ErrExpired)    // by a set that was just fetched: the client needs a new token
		if got := v.Stats(); got.Keys != 1 || got.Refreshes != 2 || got.Failures != 0 || got.UnknownKeys != 3 || !got.Refreshed.Equal(time.Now()) {
			t.Errorf("Stats = %+v", got)
		}
	})
}

// TestUnknownKeysAreRateLimited: an attacker names ten unknown keys a second.
func TestUnknownKeysAreRateLimited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		key := newEdwards(t)
		s := &issuer{body: jwks(jwk(public(key), kid("1")))}
		v := start(t, s)
		for i := range 600 {
			check(t, v, mint(t, key, Claims{Subject: "42", KeyID: fmt.Sprint("x", i)}), ErrUnknownKey)
			<-time.After(100 * time.Millisecond)
		}
		if got := s.count(); got > 7 {
			t.Errorf("%d fetches within a minute, want one every %v", got, minRefreshGap)
		}
		check(t, v, mint(t, key, Claims{Subject: "42", KeyID: "1"}), nil)
	})
}

func TestPeriodicRefresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &issuer{body: jwks(jwk(public(newEdwards(t)), kid("1")))}
		start(t, s)
		pass(10 * time.Minute)
		if got := s.count(); got != 1 {
			t.Errorf("%d fetches after 10 min, want 1", got)
		}
		pass(24 * time.Hour)
		if got := s.count(); got < 24*4*3/4 || got > 24*4*5/4 {
			t.Errorf("%d fetches after a day, want about 96", got)
		}
	})
}

// TestIssuerFails breaks the issuer in several ways. The known keys stay valid, Verify does not block, and a new set is
// fetched when the issuer works again.
func TestIssuerFails(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(*issuer){
		"error":    func(s *issuer) { s.status = http.StatusBadGateway },
		"hangs":    func(s *issuer) { s.hang = true },
		"garbage":  func(s *issuer) { s.body = "<html>" },
		"empty":    func(s *issuer) { s.body = jwks() },
		"too long": func(s *issuer) { s.body = `{"keys":[` + strings.Repeat(" ", maxSetBytes) + `]}` },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				key, next := newEdwards(t), newEdwards(t)
				known, unknown := mint(t, key, Claims{Subject: "42", KeyID: "1"}), mint(t, next, Claims{Subject: "42", KeyID: "2"})
				s := &issuer{body: jwks(jwk(public(key), kid("1")))}
				v := start(t, s)
				pass(time.Minute)
				s.set(fail)
				for range 100 {
					check(t, v, unknown, ErrUnknownKey)
					check(t, v, known, nil)
					<-time.After(10 * time.Second)
				}
				if got := s.count(); got < 10 || got > 60 {
					t.Errorf("%d fetches in 1,000 s of failure", got)
				}
				if got := v.Stats(); got.Failures == 0 || got.Keys != 1 || got.Refreshes != 1 {
					t.Errorf("Stats = %+v", got)
				}
				s.set(func(s *issuer) { s.status, s.hang, s.body = 0, false, jwks(jwk(public(next), kid("2"))) })
				pass(2 * maxRetry)
				check(t, v, unknown, nil)
			})
		})
	}
}

func TestIssuerDownAtStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		key := newEdwards(t)
		token := mint(t, key, Claims{Subject: "42", KeyID: "1"})
		s := &issuer{hang: true, body: jwks(jwk(public(key), kid("1")))}
		v := start(t, s)
		check(t, v, token, ErrUnknownKey)
		if v.Ready() {
			t.Error("ready without a key")
		}
		s.set(func(s *issuer) { s.hang = false })
		pass(fetchTimeout + 2*minRetry)
		check(t, v, token, nil)
		if !v.Ready() {
			t.Error("not ready with a key")
		}
	})
}

func TestRunWithoutKeySet(t *testing.T) {
	t.Parallel()
	v := newVerifier(t, configFor(t, testKeys()["HS256"]))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := v.Run(ctx); err != nil {
		t.Errorf("Run = %v", err)
	}
}

// TestKeyServer rotates a key on a real server with TLS while many goroutines verify tokens.
func TestKeyServer(t *testing.T) {
	t.Parallel()
	before, after := newEdwards(t), newEdwards(t)
	s := &issuer{body: jwks(jwk(public(before), kid("old")))}
	arrived, release := make(chan struct{}, 16), make(chan struct{})
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-release
		s.mu.Lock()
		defer s.mu.Unlock()
		fmt.Fprint(w, s.body)
	}))
	t.Cleanup(srv.Close)
	refreshed := make(chan struct{}, 16)
	v := newVerifier(t, Config{JWKSURL: srv.URL, Client: srv.Client(), Log: slog.New(onRecord(func(text string) {
		if text == "token keys refreshed" {
			refreshed <- struct{}{}
		}
	}))})
	v.remote.gap = 0
	ctx, cancel := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() {
		if err := v.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); run.Wait() })

	old, fresh := mint(t, before, Claims{Subject: "42", KeyID: "old"}), mint(t, after, Claims{Subject: "42", KeyID: "new"})
	<-arrived // the server is slow: it has the request and does not answer
	if _, err := v.Verify(old, now); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("Verify while the first set is on its way = %v, want ErrUnknownKey", err)
	}
	close(release)
	<-refreshed
	if _, err := v.Verify(old, now); err != nil {
		t.Fatal(err)
	}
	s.set(func(s *issuer) { s.body = jwks(jwk(public(before), kid("old")), jwk(public(after), kid("new"))) })
	for { // a request from before the change may get the old set
		_, err := v.Verify(fresh, now)
		if err == nil {
			break
		}
		if !errors.Is(err, ErrUnknownKey) {
			t.Fatal(err)
		}
		<-refreshed
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 20 {
				token, want := old, error(nil)
				if (i+j)%4 == 0 {
					token, want = mint(t, after, Claims{Subject: "42", KeyID: "none"}), ErrUnknownKey
				}
				if _, err := v.Verify(token, now); !errors.Is(err, want) {
					t.Errorf("Verify = %v, want %v", err, want)
				}
			}
		})
	}
	wg.Wait()
}

// onRecord is a log handler that calls a function with each message.
type onRecord func(text string)

func (f onRecord) Enabled(context.Context, slog.Level) bool { return true }
func (f onRecord) WithAttrs([]slog.Attr) slog.Handler       { return f }
func (f onRecord) WithGroup(string) slog.Handler            { return f }
func (f onRecord) Handle(_ context.Context, r slog.Record) error {
	f(r.Message)
	return nil
}

func TestKeyServerRedirects(t *testing.T) {
	t.Parallel()
	target := ""
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keys" {
			fmt.Fprint(w, jwks(jwk(public(testKeys()["EdDSA"]), kid("1"))))
			return
		}
		http.Redirect(w, r, target, http.StatusFound)
	}))
	t.Cleanup(srv.Close)
	for _, tt := range []struct{ to, want string }{
		{"/keys", ""},
		{"http://issuer.example/keys", "redirect to plain http"},
		{"/again", "over 5 redirects"},
	} {
		target = tt.to
		var log bytes.Buffer
		v := newVerifier(t, Config{JWKSURL: srv.URL, Client: srv.Client(), Log: slog.New(slog.NewTextHandler(&log, nil))})
		err := v.remote.refresh(t.Context())
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("redirect to %s: %v, want %q", tt.to, err, tt.want)
		}
	}
}

// The query of the URL may have an API key of the issuer, so it is as secret as a password. A failed fetch is logged again
// and again, and must not show it.
func TestFailedFetchTellsNoSecret(t *testing.T) {
	t.Parallel()
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://issuer.example/keys?"+r.URL.RawQuery, http.StatusFound)
	}))
	t.Cleanup(srv.Close)
	at := strings.TrimPrefix(srv.URL, "https://")
	for _, tt := range []struct{ url, want string }{
		{"https://hunter1:hunter2@" + at + "/keys?key=hunter3", "redirect to plain http"},
		{"https://hunter1:hunter2@127.0.0.1:1/keys?key=hunter3", "key set https://127.0.0.1:1/keys: dial"},
	} {
		v := newVerifier(t, Config{JWKSURL: tt.url, Client: srv.Client()})
		if err := v.remote.refresh(t.Context()); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter") {
			t.Errorf("fetch %s: %v, want %q and no secret", tt.url, err, tt.want)
		}
	}
}
