package identity_test

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/carillon-ws/carillon/gateway/identity"
	"github.com/carillon-ws/carillon/protocol/http1"
)

func Example() {
	dir, _ := os.MkdirTemp("", "identity")
	defer func() { _ = os.RemoveAll(dir) }()
	secret := filepath.Join(dir, "secret")
	_ = os.WriteFile(secret, []byte("a secret of at least 32 random bytes"), 0o600)

	// The application makes a token; for tests: gateway token -key secret -sub 42 -channels "user:{sub},org:7:*"
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	key, err := identity.ReadSigningKey(secret)
	if err != nil {
		fmt.Println(err)
		return
	}
	token, err := identity.Mint(identity.Claims{Subject: "42", Channels: []string{"user:{sub}", "org:7:*"}}, key, now, time.Hour)
	if err != nil {
		fmt.Println(err)
		return
	}

	// The gateway checks it.
	verifier, err := identity.New(identity.Config{SecretFile: secret})
	if err != nil {
		fmt.Println(err)
		return
	}
	header := []byte("carillon.v1, bearer." + token)
	id, err := verifier.Verify(identity.Sources{}.Token(http1.Credentials{Subprotocols: header}), now)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(id.User, id.Expires)
	for _, channel := range []string{"user:42", "user:4", "org:7:jobs", "org:8:jobs"} {
		fmt.Println(channel, id.May(channel))
	}
	// Output:
	// 42 2026-11-24 13:00:00 +0000 UTC
	// user:42 true
	// user:4 false
	// org:7:jobs true
	// org:8:jobs false
}
