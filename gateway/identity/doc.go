// Package identity decides who a client is and what it may hear. It turns a JSON Web Token (RFC 7519) into an
// [Identity], and knows nothing of sockets.
//
//	verifier, err := identity.New(identity.Config{SecretFile: "jwt.key", Audience: "notifications"})
//	go verifier.Run(ctx) // in the run group; fetches the key set when there is one
//	...
//	token := sources.Token(http1.Credentials{Subprotocols: …, Authorization: …})
//	id, err := verifier.Verify(token, now)
//	if err == nil && id.May("user:42") { … }
//
// # Keys
//
// Algorithms are HS256, RS256, ES256 and EdDSA (Ed25519), and of these only the ones that the configured keys fit: a
// secret takes HS256 alone, a public key takes its own algorithm alone. So a token cannot choose how it is checked:
// "none", or an HS256 made with a public key for a secret, finds no key. A token whose header has "crit" is refused,
// since no extension is understood.
//
// A key set (JWKS, RFC 7517) is fetched by [Verifier.Run] and kept in memory as an immutable map. A token that names a
// key that is not there gets [ErrUnknownKey] at once and asks Run for a new set, at most one every 10 s, so that
// the client's next attempt succeeds. If the set was fetched less than that ago the error is [ErrExpired] as well: the
// issuer has retired the key. A set that cannot be fetched or read leaves the old one in force. A token without
// a kid is checked with the only key of its algorithm; if there are several it is refused, and if that key was replaced
// it is refused until the set is fetched for its age.
//
// # Claims
//
//	sub       who it is: required, 1-255 bytes of UTF-8 without control characters
//	exp       until when: required
//	nbf       from when
//	aud, iss  required and compared when configured. Without an expected audience a token that the same issuer
//	          made for another service is good here too: configure one when the keys are shared.
//	channels  what it may hear: a list of up to 100 patterns of up to 255 bytes. Absent, it is ["user:{sub}"], the
//	          client's personal channel and no other. An empty list is nothing at all.
//
// A token has 8 KiB at most, its header 2 KiB, and neither is nested over 16 deep. Before the signature is checked,
// claims are only seen to be JSON. Their names are exact to the letter and may come once: encoding/json alone would
// let "Sub" stand for "sub", and the last of two win.
//
// A pattern is a channel's name, or a prefix that ends in "*", the only wildcard: "org:7:*" holds org:7:jobs and
// org:7:a:b, "*" holds all. Names are in the short form (user:42; a leading "notifications:" is taken off, as
// everywhere). "{sub}" stands for the token's sub, to the byte: nothing in it is a wildcard, even if it is "*".
// "{sub}*" is refused, for user:{sub}* would let user 4 hear user:42; write user:{sub}:* instead. Whether a sub may
// have a colon is up to the issuer: with user:{sub}, the sub "7:a" hears user:7:a.
//
// # What is safe
//
// [Verifier.Verify], [Identity.May] and the functions that find a token in a request do no I/O, wait for nothing
// and may run on an event loop. Tokens are never kept, logged, or part of an error.
//
// # What it does not do
//
// It knows no revocation of single tokens, no opaque tokens, no encryption (JWE), and asks no issuer about a token.
// Short lifetimes are the remedy: an identity ends, and the connection with it.
package identity
