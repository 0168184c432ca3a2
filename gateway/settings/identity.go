package settings

import (
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/carillon-ws/carillon/protocol"
)

// Authenticates reports whether clients are asked for a token.
func (cfg *Settings) Authenticates() bool {
	return cfg.Identity.SecretFile != "" || cfg.Identity.PublicKeyFile != "" || cfg.Identity.JWKSURL != ""
}

// checkIdentity refuses flags that have no effect without a key: whoever gives them believes that there is one.
func (cfg *Settings) checkIdentity() error {
	if !cfg.Authenticates() {
		for _, given := range []named[bool]{
			{"jwt-jwks-insecure", cfg.Identity.InsecureJWKS}, {"jwt-audience", cfg.Identity.Audience != ""},
			{"jwt-issuer", cfg.Identity.Issuer != ""}, {"jwt-leeway", cfg.Identity.Leeway != 0},
			{"jwt-cookie", cfg.Server.TokenSources.Cookie != ""}, {"jwt-query", cfg.Server.TokenSources.Query},
			{"personal-channel", cfg.Server.PersonalChannel != ""},
		} {
			if given.value {
				return Usagef("-%s has no effect without a key: give -jwt-secret, -jwt-public-key or -jwt-jwks", given.flag)
			}
		}
		return nil
	}
	if cfg.Server.TokenSources.Cookie != "" && slices.Contains(cfg.Origins, "*") {
		return Usagef("-jwt-cookie with -allow-origin '*' lets any site's page connect as its visitor: list the origins")
	}
	if pattern := cfg.Server.PersonalChannel; pattern != "" {
		filled := strings.ReplaceAll(pattern, "{sub}", "x")
		if at := strings.IndexByte(filled, '{'); at >= 0 {
			return Usagef("-personal-channel %q: %q is not filled in, only {sub} is", pattern, placeholder(filled[at:]))
		}
		if _, err := protocol.ParseChannel(filled); err != nil {
			return Usagef("-personal-channel %q: %w", pattern, err)
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
