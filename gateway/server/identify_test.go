package server

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/carillon-ws/carillon/gateway/identity"
	"github.com/carillon-ws/carillon/protocol"
)

// issuer makes tokens that the verifier beside it takes.
type issuer struct {
	t   *testing.T
	key identity.SigningKey
}

// askForTokens has a server ask for the tokens of the issuer it returns.
func askForTokens(t *testing.T) (*issuer, func(*Config)) {
	t.Helper()
	return askForTokensOr(t, identity.Config{})
}

// askForTokensOr is askForTokens for a server that has other keys as well.
func askForTokensOr(t *testing.T, keys identity.Config) (*issuer, func(*Config)) {
	t.Helper()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("a secret of at least 32 random bytes"), 0o600); err != nil {
		t.Fatal(err)
	}
	key, err := identity.ReadSigningKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	keys.SecretFile = secret
	verifier, err := identity.New(keys)
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{t, key}, func(cfg *Config) { cfg.Verifier = verifier }
}

// token is good for ttl from so long ago.
func (is *issuer) token(sub string, ago, ttl time.Duration, channels ...string) string {
	is.t.Helper()
	made, err := identity.Mint(identity.Claims{Subject: sub, Channels: channels}, is.key, time.Now().Add(-ago), ttl)
	if err != nil {
		is.t.Fatal(err)
	}
	return made
}

// with adds header lines to the handshake.
func with(headers ...string) string {
	return strings.TrimSuffix(handshake, "\r\n") + strings.Join(headers, "\r\n") + "\r\n\r\n"
}

func TestTokenIsAskedFor(t *testing.T) {
	t.Parallel()
	is, ask := askForTokens(t)
	s, _ := startServer(t, func(cfg *Config) {
		ask(cfg)
		cfg.TokenSources = identity.Sources{Cookie: "session", Query: true}
	})
	good, expired := is.token("ann", 0, time.Minute), is.token("ann", time.Hour, time.Minute)
	ours := "Sec-WebSocket-Protocol: carillon.v1"
	tests := []struct {
		name   string
		head   string
		status int           // of the answer
		code   ws.StatusCode // of the close frame behind a 101; 0: the connection is open
	}{
		{"by sub-protocol", with(ours + ", bearer." + good), 101, 0},
		{"by authorization", with("Authorization: Bearer " + good), 101, 0},
		{"by cookie", with("Cookie: a=b; session=" + good), 101, 0},
		{"by query", strings.Replace(handshake, "/ws", "/ws?token="+good, 1), 101, 0},
		{"none", handshake, 401, 0},
		{"none, with our sub-protocol", with(ours), 101, protocol.CloseBadToken},
		{"bad", with("Authorization: Bearer x.y.z"), 401, 0},
		{"bad, with our sub-protocol", with(ours + ", bearer.x.y.z"), 101, protocol.CloseBadToken},
		{"expired", with("Authorization: Bearer " + expired), 401, 0},
		{"expired, with our sub-protocol", with(ours + ", bearer." + expired), 101, protocol.CloseTokenExpired},
		{"a label is no token", strings.Replace(handshake, "/ws", "/ws?user=ann", 1), 401, 0},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := dialRaw(t, s)
			p.t = t
			p.write(tc.head)
			r := p.wantStatus(tc.status)
			switch {
			case tc.status == http.StatusUnauthorized:
				if r.Header.Get("WWW-Authenticate") == "" {
					t.Error("401 without WWW-Authenticate (RFC 9110 section 15.5.2)")
				}
				p.wantEOF()
			case tc.code != 0:
				if c := p.wantClose(tc.code); !strings.Contains(c.reason, "token") {
					t.Errorf("reason %q, want what is wrong with the token", c.reason)
				}
			default:
				if protocols := r.Header.Get("Sec-WebSocket-Protocol"); protocols != "" && protocols != protocol.Subprotocol {
					t.Errorf("sub-protocol %q is answered: the token must not be", protocols)
				}
				if m := p.want("connected"); m.UserID != "ann" || m.ExpiresAt < time.Now().UnixMilli() {
					t.Errorf("connected %+v, want the user and when the token ends", m)
				}
			}
		})
	}
}

// Whoever writes a client must learn what is wrong with its token, and so must whoever reads the log at debug.
func TestWhyATokenIsRefused(t *testing.T) {
	t.Parallel()
	is, ask := askForTokens(t)
	var log lineBuffer
	s, _ := startServer(t, func(cfg *Config) {
		ask(cfg)
		cfg.Loops, cfg.Log = 1, slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	good := is.token("ann", 0, time.Minute)
	for token, why := range map[string]string{
		"":                              "no token",
		"x.y.z":                         "bad token: malformed",
		good[:len(good)-8] + "AAAAAAAA": "bad token: the algorithm or the signature does not fit the key",
	} {
		p := dialRaw(t, s)
		p.write(with("Sec-WebSocket-Protocol: carillon.v1, bearer." + token))
		p.wantStatus(http.StatusSwitchingProtocols)
		if c := p.wantClose(protocol.CloseBadToken); c.reason != why {
			t.Errorf("close reason %q, want %q", c.reason, why)
		}
		if token == "" {
			continue
		}
		p = dialRaw(t, s)
		p.write(with("Authorization: Bearer " + token))
		if r, body := p.response(); r.StatusCode != http.StatusUnauthorized || body != why+"\n" {
			t.Errorf("%d %q, want 401 %q", r.StatusCode, body, why)
		}
		if !slices.ContainsFunc(log.lines(t), func(l logLine) bool { return l.Event == "refused" && l.Reason == why }) {
			t.Errorf("the log does not say %q", why)
		}
	}
}

// tokenOfUnknownKey is ann's until 2100, by a key with the name a.
var tokenOfUnknownKey = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImEifQ.eyJzdWIiOiJhbm4iLCJleHAiOjQxMDI0NDQ4MDB9." + strings.Repeat("A", 86)

// While the key set lacks a token's key the client is sent away for a while, not for good.
func TestTokenOfAKeyNotYetKnown(t *testing.T) {
	t.Parallel()
	verifier, err := identity.New(identity.Config{JWKSURL: "http://127.0.0.1:1/keys"})
	if err != nil {
		t.Fatal(err)
	}
	s, _ := startServer(t, func(cfg *Config) { cfg.Verifier = verifier })
	p := dialRaw(t, s)
	p.write(with("Authorization: Bearer " + tokenOfUnknownKey))
	switch r, body := p.response(); {
	case r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "":
		t.Errorf("%d, Retry-After %q, want 503 with one", r.StatusCode, r.Header.Get("Retry-After"))
	case body != identity.ErrUnknownKey.Error()+"\n":
		t.Errorf("body %q, want %q", body, identity.ErrUnknownKey)
	}
	p = dialRaw(t, s)
	p.write(with("Sec-WebSocket-Protocol: carillon.v1, bearer." + tokenOfUnknownKey))
	p.wantStatus(http.StatusSwitchingProtocols)
	if c := p.wantClose(protocol.CloseTryAgainLater); !strings.HasPrefix(c.reason, "retry=") {
		t.Errorf("reason %q, want a hint", c.reason)
	}
}

func TestRightsAreChecked(t *testing.T) {
	t.Parallel()
	is, ask := askForTokens(t)
	s, feeder := startServer(t, ask)
	p := dialRaw(t, s)
	p.write(with("Authorization: Bearer " + is.token("ann", 0, time.Minute, "user:{sub}", "org:7:*")))
	p.wantStatus(http.StatusSwitchingProtocols)
	p.want("connected")
	p.subscribe("user:ann", "org:7:jobs")
	for _, channel := range []string{"user:bob", "org:8:jobs", "*", "notifications:user:bob", "user:an"} {
		m := p.say(`{"type":"subscribe","id":1,"channel":"` + channel + `"}`)
		if m.Type != "error" || m.Code != "forbidden" || string(m.ID) != "1" {
			t.Errorf("subscribe %s: %+v, want forbidden", channel, m)
		}
		if strings.HasPrefix(m.Channel, "notifications:") {
			t.Errorf("%s comes back in its long form", m.Channel)
		}
	}
	for _, channel := range []string{"user:bob", "org:8:jobs", "user:ann"} {
		feeder.Publish("notifications:"+channel, "x")
	}
	p.wantNotification("user:ann", "x")
}

func TestPersonalChannel(t *testing.T) {
	t.Parallel()
	is, ask := askForTokens(t)
	s, feeder := startServer(t, func(cfg *Config) { ask(cfg); cfg.PersonalChannel = "user:{sub}" })
	dialAs := func(sub string, channels ...string) *peer {
		p := dialRaw(t, s)
		p.write(with("Authorization: Bearer " + is.token(sub, 0, time.Minute, channels...)))
		p.wantStatus(http.StatusSwitchingProtocols)
		p.want("connected")
		return p
	}
	p := dialAs("ann")
	if m := p.want("subscribed"); m.Channel != "user:ann" {
		t.Errorf("subscribed to %q unasked, want user:ann", m.Channel)
	}
	feeder.Publish("notifications:user:ann", "hi")
	p.wantNotification("user:ann", "hi")
	if m := dialAs("bob", "news").want("error"); m.Code != "forbidden" || m.Channel != "user:bob" {
		t.Errorf("%+v, want forbidden: the token leaves the channel out", m)
	}
}

func TestTokenEndsTheConnection(t *testing.T) {
	t.Parallel()
	is, ask := askForTokens(t)
	s, _ := startServer(t, ask)
	p := dialRaw(t, s)
	p.write(with("Authorization: Bearer " + is.token("ann", 0, 2*time.Second)))
	p.wantStatus(http.StatusSwitchingProtocols)
	ends := time.UnixMilli(p.want("connected").ExpiresAt)
	p.wantClose(protocol.CloseTokenExpired)
	if now := time.Now(); now.Before(ends) {
		t.Errorf("closed %s before the token ended", ends.Sub(now))
	}
}

func TestTokenIsRefreshedInBand(t *testing.T) {
	t.Parallel()
	is, ask := askForTokens(t)
	s, feeder := startServer(t, ask)
	p := dialRaw(t, s)
	p.write(with("Authorization: Bearer " + is.token("ann", 0, 2*time.Second, "user:ann", "news")))
	p.wantStatus(http.StatusSwitchingProtocols)
	p.want("connected")
	p.subscribe("user:ann", "news")
	auth := func(token string) message {
		body, err := json.Marshal(map[string]any{"type": "auth", "id": 1, "token": token})
		if err != nil {
			t.Fatal(err)
		}
		return p.say(string(body))
	}
	for name, token := range map[string]string{
		"bad": "x.y.z", "expired": is.token("ann", time.Hour, time.Minute), "another user's": is.token("bob", 0, time.Minute),
	} {
		if m := auth(token); m.Type != "error" || m.Code != "bad_token" || string(m.ID) != "1" {
			t.Errorf("auth with a token that is %s: %+v, want bad_token", name, m)
		}
	}
	// The good one takes the channel news away, and outlives the first.
	m := auth(is.token("ann", 0, 4*time.Second, "user:ann"))
	if m.Type != "authenticated" || string(m.ID) != "1" {
		t.Fatalf("auth: %+v, want authenticated", m)
	}
	ends := time.UnixMilli(m.ExpiresAt)
	if m := p.want("unsubscribed"); m.Channel != "news" {
		t.Errorf("unsubscribed from %q, want news", m.Channel)
	}
	if m := p.want("error"); m.Channel != "news" || m.Code != "forbidden" {
		t.Errorf("%+v, want forbidden for news", m)
	}
	feeder.Publish("notifications:news", "lost")
	feeder.Publish("notifications:user:ann", "kept")
	p.wantNotification("user:ann", "kept")
	p.wantClose(protocol.CloseTokenExpired)
	if now := time.Now(); now.Before(ends) {
		t.Errorf("closed %s before the new token ended", ends.Sub(now))
	}
}

// A new token that cannot be judged yet is not a bad one: the client is told to try again, and the old one stays in force.
func TestNewTokenThatCannotBeJudgedYet(t *testing.T) {
	t.Parallel()
	is, ask := askForTokensOr(t, identity.Config{JWKSURL: "http://127.0.0.1:1/keys"}) // which is not fetched: nobody runs the verifier
	s, _ := startServer(t, ask)
	p := dialRaw(t, s)
	p.write(with("Authorization: Bearer " + is.token("ann", 0, time.Minute, "user:ann")))
	p.wantStatus(http.StatusSwitchingProtocols)
	p.want("connected")
	m := p.say(`{"type":"auth","id":1,"token":"` + tokenOfUnknownKey + `"}`)
	if m.Type != "error" || m.Code != "internal" || string(m.ID) != "1" || !strings.Contains(m.Message, "try again") {
		t.Errorf("auth with a token whose key is not fetched: %+v, want internal and to try again", m)
	}
	p.subscribe("user:ann")
}

// A token may end when seconds are no longer counted in 32 bits.
func TestTokenThatEndsInACentury(t *testing.T) {
	t.Parallel()
	is, ask := askForTokens(t)
	s, _ := startServer(t, ask)
	p := dialRaw(t, s)
	p.write(with("Authorization: Bearer " + is.token("ann", 0, (1<<32)*time.Second)))
	p.wantStatus(http.StatusSwitchingProtocols)
	p.want("connected")
	p.wantPong()
}
