package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/carillon-ws/carillon/gateway/identity"
	"github.com/carillon-ws/carillon/protocol"
)

// authenticates reports whether clients are asked for a token.
func (cfg *config) authenticates() bool {
	return cfg.identity.SecretFile != "" || cfg.identity.PublicKeyFile != "" || cfg.identity.JWKSURL != ""
}

// checkIdentity refuses flags that have no effect without a key: whoever gives them believes that there is one.
func (cfg *config) checkIdentity() error {
	if !cfg.authenticates() {
		for name, set := range map[string]bool{
			"jwt-audience": cfg.identity.Audience != "", "jwt-issuer": cfg.identity.Issuer != "",
			"jwt-leeway": cfg.identity.Leeway != 0, "jwt-cookie": cfg.server.TokenSources.Cookie != "",
			"jwt-query": cfg.server.TokenSources.Query, "personal-channel": cfg.server.PersonalChannel != "",
			"jwt-jwks-insecure": cfg.identity.InsecureJWKS,
		} {
			if set {
				return usagef("-%s means nothing without a key: -jwt-secret, -jwt-public-key or -jwt-jwks", name)
			}
		}
		return nil
	}
	if cfg.server.TokenSources.Cookie != "" && slices.Contains(cfg.origins, "*") {
		return usagef("-jwt-cookie with -allow-origin '*' lets any site's page connect as its visitor: list the origins")
	}
	if pattern := cfg.server.PersonalChannel; pattern != "" {
		filled := strings.ReplaceAll(pattern, "{sub}", "x")
		if at := strings.IndexByte(filled, '{'); at >= 0 {
			return usagef("-personal-channel %q: %q is not filled in, only {sub} is", pattern, placeholder(filled[at:]))
		}
		if _, err := protocol.ParseChannel(filled); err != nil {
			return usagef("-personal-channel %q: %w", pattern, err)
		}
	}
	return nil
}

// placeholder is the first part of text up to its closing brace, or all of it.
func placeholder(text string) string {
	name, _, closed := strings.Cut(text, "}")
	if !closed {
		return text
	}
	return name + "}"
}

// parseNetwork reads a network, or an address, which is a network of one.
func parseNetwork(v string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(v); err == nil && addr.Zone() == "" {
		return netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(v)
	if err != nil || prefix != prefix.Masked() || prefix.Addr().Is4In6() {
		return netip.Prefix{}, errors.New("a network is written as in 10.0.0.0/8 or 2001:db8::/32, with no bits behind its length, no zone, and IPv4 as such")
	}
	return prefix, nil
}

// token makes a token for development: in production the application that knows its users makes them.
func token(args []string, stdout io.Writer) error {
	fs := newCommand("token")
	var claims identity.Claims
	key := fs.String("key", "", "file with the secret, or with a private key in PEM: what the gateway's -jwt-secret or -jwt-public-key fits")
	fs.StringVar(&claims.Subject, "sub", "", "whose token it is")
	channels := fs.String("channels", "", "patterns of the channels it may hear, with commas between them; default: user:{sub}")
	var ttl time.Duration
	span(&ttl, time.Hour)(fs, "ttl", "how long it is good")
	fs.StringVar(&claims.Audience, "aud", "", "claim aud")
	fs.StringVar(&claims.Issuer, "iss", "", "claim iss")
	fs.StringVar(&claims.KeyID, "kid", "", "name of the key, for key sets")
	if err := parseCommand(fs, args, "gateway token -key FILE -sub ID [-channels PATTERN,...] [-ttl 1h] [-aud AUDIENCE] [-iss ISSUER] [-kid KEY]", stdout); err != nil {
		return err
	}
	switch {
	case fs.NArg() > 0:
		return usagef("token: unexpected argument %q", fs.Arg(0))
	case *key == "" || claims.Subject == "":
		return usagef("token needs -key FILE and -sub ID, as in: gateway token -key jwt.key -sub ann")
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
		return usagef("token: %w", err)
	}
	fmt.Fprintln(stdout, made)
	return nil
}
