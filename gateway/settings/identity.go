package settings

import (
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/carillon-ws/carillon/protocol"
)

// Authenticates reports whether clients need a token.
func (cfg *Settings) Authenticates() bool {
	return cfg.Identity.SecretFile != "" || cfg.Identity.PublicKeyFile != "" || cfg.Identity.JWKSURL != ""
}

// checkIdentity refuses flags about tokens if there is no key: they would have no effect, and the gateway would be open.
func (cfg *Settings) checkIdentity() error {
	if !cfg.Authenticates() {
		for _, given := range []named[bool]{
			{"jwt-jwks-insecure", cfg.Identity.InsecureJWKS},
			{"jwt-audience", cfg.Identity.Audience != ""},
			{"jwt-issuer", cfg.Identity.Issuer != ""},
			{"jwt-leeway", cfg.Identity.Leeway != 0},
			{"jwt-cookie", cfg.Server.TokenSources.Cookie != ""},
			{"jwt-query", cfg.Server.TokenSources.Query},
			{"personal-channel", cfg.Server.PersonalChannel != ""},
		} {
			if given.value {
				return Usagef("-%s has no effect without a key: give -jwt-secret, -jwt-public-key or -jwt-jwks", given.flag)
			}
		}
		return nil
	}
	if cfg.Server.TokenSources.Cookie != "" && slices.Contains(cfg.Origins, "*") {
		return Usagef("-jwt-cookie with -allow-origin '*' lets the page of any site connect with its visitor's cookie: list the origins")
	}
	if pattern := cfg.Server.PersonalChannel; pattern != "" {
		filled := strings.ReplaceAll(pattern, "{sub}", "x")
		if at := strings.IndexByte(filled, '{'); at >= 0 {
			return Usagef("-personal-channel %q: %q is not replaced by anything, only {sub} is", pattern, placeholder(filled[at:]))
		}
		if _, err := protocol.ParseChannel(filled); err != nil {
			return Usagef("-personal-channel %q: %w", pattern, err)
		}
	}
	return nil
}

// placeholder returns text up to its first closing brace, or all of it.
func placeholder(text string) string {
	name, _, closed := strings.Cut(text, "}")
	if !closed {
		return text
	}
	return name + "}"
}

// parseNetwork reads a network, or an address, which is a network of one address.
func parseNetwork(v string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(v); err == nil && addr.Zone() == "" {
		return netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(v)
	if err != nil || prefix != prefix.Masked() || prefix.Addr().Is4In6() {
		return netip.Prefix{}, errors.New("a network is like 10.0.0.0/8 or 2001:db8::/32: the bits after its length are 0, it has no zone, and IPv4 is not written as IPv6")
	}
	return prefix, nil
}
