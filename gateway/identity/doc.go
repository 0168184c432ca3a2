// Package identity decides who a client is and which channels it may hear. It makes an [Identity] from a JSON Web Token
// (RFC 7519). It has no sockets of clients.
//
//	verifier, err := identity.New(identity.Config{SecretFile: "jwt.key", Audience: "notifications"})
//	go verifier.Run(ctx) // in the run group; fetches the key set if there is one
//	...
//	token := sources.Token(http1.Credentials{Subprotocols: …, Authorization: …})
//	id, err := verifier.Verify(token, now)
//	if err == nil && id.May("user:42") { … }
//
// # Keys
//
// The algorithms are HS256, RS256, ES256 and EdDSA (Ed25519). A secret is used with HS256 only, and a public key only with
// its own algorithm. So a token cannot choose how it is checked: for "none", or for an HS256 token that was made with a
// public key as the secret, there is no key. A token whose header has "crit" is refused, because no extension is supported.
//
// [Verifier.Run] fetches a key set (JWKS, RFC 7517) and keeps it in memory as an immutable map. A token with the name of an
// unknown key is refused with [ErrUnknownKey] at once, and Run fetches a new set, at most one in 10 s, so that the next
// attempt of the client succeeds. If the set was fetched less than 10 s ago, the error is [ErrExpired] as well: the issuer
// has retired the key. If a set cannot be fetched or read, the old one stays in use. A token without a kid is checked with
// the only key of its algorithm; it is refused if there are several. If that key was replaced, such a token is refused
// until the next regular fetch.
//
// # Claims
//
//	sub       the user: required, 1-255 bytes of UTF-8 without control characters
//	exp       when the token expires: required
//	nbf       the token is not valid before
//	aud, iss  required and compared if configured. Without an expected audience, a token that the same issuer made for
//	          another service is valid here too: configure one if several services share the keys.
//	channels  what the client may hear: a list of up to 100 patterns of up to 255 bytes. Without the claim it is
//	          ["user:{sub}"]: the client's personal channel and no other. With an empty list it may hear nothing.
//
// A token has 8 KiB at most and its header 2 KiB, and neither is nested deeper than 16. Before the signature is checked,
// the claims are only checked to be JSON. The names of claims are case-sensitive, and each may be there once; encoding/json
// alone would take "Sub" for "sub", and the last of two.
//
// A pattern is the name of a channel, or a prefix and "*", the only wildcard: "org:7:*" allows org:7:jobs and org:7:a:b,
// and "*" allows all channels. Names are in the short form (user:42; a leading "notifications:" is taken off, as
// everywhere). "{sub}" is replaced by the token's sub, byte for byte: no part of the sub is a wildcard, even if it is "*".
// "{sub}*" is refused, because user:{sub}* would let user 4 hear user:42; write user:{sub}:* instead. The issuer decides
// whether a sub may have a colon: with user:{sub}, the user "7:a" may hear user:7:a.
//
// # What is safe
//
// [Verifier.Verify], [Identity.May] and the functions that find a token in a request do no I/O and never block, so they may
// run on an event loop. Tokens are never kept or logged, and are never part of an error.
//
// # What it does not do
//
// It has no revocation of single tokens, no opaque tokens and no encrypted tokens (JWE), and it asks no issuer about a
// token. Use tokens with a short lifetime instead: when an identity expires, its connection ends.
package identity
