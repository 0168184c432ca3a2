package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/carillon-ws/carillon/gateway/identity"
	"github.com/carillon-ws/carillon/gateway/settings"
)

// token is `gateway token`: it makes a token for development. In production the application that knows its users makes
// the tokens.
func token(args []string, stdout io.Writer) error {
	fs := newCommand("token")
	var claims identity.Claims
	key := fs.String("key", "", "file with the secret (the gateway's -jwt-secret), or with the private key in PEM that belongs to its -jwt-public-key")
	fs.StringVar(&claims.Subject, "sub", "", "claim sub: the user that the token is for")
	channels := fs.String("channels", "", "claim channels: patterns of the channels that the user may hear, separated by commas; without it user:{sub}")
	var ttl time.Duration
	settings.Duration(&ttl, time.Hour)(fs, "ttl", "how long the token is valid")
	fs.StringVar(&claims.Audience, "aud", "", "claim aud")
	fs.StringVar(&claims.Issuer, "iss", "", "claim iss")
	fs.StringVar(&claims.KeyID, "kid", "", "name of the key (kid), for key sets")
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
