package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/carillon-ws/carillon/gateway/settings"

	"github.com/carillon-ws/carillon/gateway/identity"
)

// token makes a token for development: in production the application that knows its users makes them.
func token(args []string, stdout io.Writer) error {
	fs := newCommand("token")
	var claims identity.Claims
	key := fs.String("key", "", "file with the secret, or with a private key in PEM: what the gateway's -jwt-secret or -jwt-public-key fits")
	fs.StringVar(&claims.Subject, "sub", "", "whose token it is")
	channels := fs.String("channels", "", "patterns of the channels it may hear, with commas between them; default: user:{sub}")
	var ttl time.Duration
	settings.Duration(&ttl, time.Hour)(fs, "ttl", "how long it is good")
	fs.StringVar(&claims.Audience, "aud", "", "claim aud")
	fs.StringVar(&claims.Issuer, "iss", "", "claim iss")
	fs.StringVar(&claims.KeyID, "kid", "", "name of the key, for key sets")
	if err := parseCommand(fs, args, "gateway token -key FILE -sub ID [-channels PATTERN,...] [-ttl 1h] [-aud AUDIENCE] [-iss ISSUER] [-kid KEY]", stdout); err != nil {
		return err
	}
	switch {
	case fs.NArg() > 0:
		return settings.Usagef("token: unexpected argument %q", fs.Arg(0))
	case *key == "" || claims.Subject == "":
		return settings.Usagef("token needs -key FILE and -sub ID, as in: gateway token -key jwt.key -sub ann")
	}
	if *channels != "" {
		for pattern := range strings.SplitSeq(*channels, ",") {
			claims.Channels = append(claims.Channels, strings.TrimSpace(pattern))
		}
	}
	signing, err := identity.ReadSigningKey(*key)
	if err != nil {
		return fmt.Errorf("-key: %w", err)
	}
	made, err := identity.Mint(claims, signing, time.Now(), ttl)
	if err != nil {
		return settings.Usagef("token: %w", err)
	}
	fmt.Fprintln(stdout, made)
	return nil
}
