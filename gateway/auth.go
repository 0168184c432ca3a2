package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/carillon-ws/carillon/gateway/identity"
	"github.com/carillon-ws/carillon/protocol"
)

// registerIdentity registers the flags that say who may connect and what they may hear.
func registerIdentity(fs *flag.FlagSet, cfg *config) {
	id, s := &cfg.identity, &cfg.server
	fs.StringVar(&id.SecretFile, "jwt-secret", "", "file with the secret of HS256 tokens, 32 bytes or more: clients need a token then")
	fs.StringVar(&id.PublicKeyFile, "jwt-public-key", "", "PEM file with the public key of RS256, ES256 or EdDSA tokens: clients need a token then")
	fs.StringVar(&id.JWKSURL, "jwt-jwks", "", "URL of the key set of RS256, ES256 or EdDSA tokens, fetched again as keys rotate: clients need a token then")
	fs.BoolVar(&id.InsecureJWKS, "jwt-jwks-insecure", false, "fetch the key set by plain http from beyond loopback: who can change it on its way makes every token")
	fs.StringVar(&id.Audience, "jwt-audience", "", "claim aud that a token must have; without it a token that the same issuer made for another service is good here")
	fs.StringVar(&id.Issuer, "jwt-issuer", "", "claim iss that a token must have")
	fs.DurationVar(&id.Leeway, "jwt-leeway", 0, "how far the clocks of the issuer and of this host may differ")
	fs.StringVar(&s.TokenSources.Cookie, "jwt-cookie", "", "cookie that may carry the token, beside Sec-WebSocket-Protocol and Authorization: as safe as the check of the origin")
	fs.BoolVar(&s.TokenSources.Query, "jwt-query", false, "let ?token= carry the token: proxies write it into their logs")
	fs.StringVar(&s.PersonalChannel, "personal-channel", "", "channel that each client is subscribed to unasked, as in user:{sub}, if its token allows it")
}

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
		if _, err := protocol.ParseChannel(strings.ReplaceAll(pattern, "{sub}", "x")); err != nil {
			return usagef("-personal-channel %q: %w", pattern, err)
		}
	}
	return nil
}

// addNetwork reads a network, or an address, which is a network of one.
func addNetwork(list *[]netip.Prefix, v string) error {
	if addr, err := netip.ParseAddr(v); err == nil && addr.Zone() == "" {
		*list = append(*list, netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()))
		return nil
	}
	prefix, err := netip.ParsePrefix(v)
	if err != nil || prefix != prefix.Masked() || prefix.Addr().Is4In6() {
		return errors.New("a network is written as in 10.0.0.0/8 or 2001:db8::/32, with no bits behind its length, no zone, and IPv4 as such")
	}
	*list = append(*list, prefix)
	return nil
}

// token makes a token for development: in production the application that knows its users makes them.
func token(args []string, stdout io.Writer) error {
	fs := flag.NewFlagSet("token", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	var claims identity.Claims
	key := fs.String("key", "", "file with the secret, or with a private key in PEM: what the gateway's -jwt-secret or -jwt-public-key fits")
	fs.StringVar(&claims.Subject, "sub", "", "whose token it is")
	channels := fs.String("channels", "", "patterns of the channels it may hear, with commas between them; default: user:{sub}")
	ttl := fs.Duration("ttl", time.Hour, "how long it is good")
	fs.StringVar(&claims.Audience, "aud", "", "claim aud")
	fs.StringVar(&claims.Issuer, "iss", "", "claim iss")
	fs.StringVar(&claims.KeyID, "kid", "", "name of the key, for key sets")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(stdout, "gateway token -key FILE -sub ID [-channels PATTERN,...] [-ttl 1h] [-aud AUDIENCE] [-iss ISSUER] [-kid KEY]")
			fs.SetOutput(stdout)
			fs.PrintDefaults()
			return err
		}
		return usagef("token: %v", err)
	}
	switch {
	case fs.NArg() > 0:
		return usagef("token: unexpected argument %q", fs.Arg(0))
	case *key == "" || claims.Subject == "":
		return usagef("token needs -key FILE and -sub ID, as in: gateway token -key jwt.key -sub ann")
	}
	if *channels != "" {
		claims.Channels = strings.Split(*channels, ",")
	}
	signing, err := identity.ReadSigningKey(*key)
	if err != nil {
		return fmt.Errorf("-key: %w", err)
	}
	made, err := identity.Mint(claims, signing, time.Now(), *ttl)
	if err != nil {
		return usagef("token: %w", err)
	}
	fmt.Fprintln(stdout, made)
	return nil
}
