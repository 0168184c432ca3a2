package identity

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func TestVerifyEachAlgorithm(t *testing.T) {
	t.Parallel()
	for _, alg := range algorithms {
		for _, configured := range algorithms {
			t.Run(alg+" against "+configured, func(t *testing.T) {
				t.Parallel()
				v := newVerifier(t, configFor(t, testKeys()[configured]))
				token := mint(t, testKeys()[alg], Claims{Subject: "42", Channels: []string{"org:7:*"}})
				id, err := v.Verify(token, now)
				if alg != configured {
					if id != nil || !errors.Is(err, ErrBadToken) {
						t.Fatalf("Verify = %v, %v, want ErrBadToken", id, err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if id.User != "42" || !id.Expires.Equal(now.Add(time.Hour)) || !id.May("org:7:x") || id.May("user:42") {
					t.Errorf("Verify = %+v", id)
				}
			})
		}
	}
}

// TestVerifyClaims verifies claims that an issuer might sign, good and bad.
func TestVerifyClaims(t *testing.T) {
	t.Parallel()
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	hour := fmt.Sprintf(`"exp":%d`, at(time.Hour))
	good := `{"sub":"42","aud":"app","iss":"me",` + hour
	tests := []struct {
		name    string
		payload string
		want    error
	}{
		{"good", good + `}`, nil},
		{"more claims", good + `,"name":"x","deep":{"a":[1,{"b":null}]},"sub2":1}`, nil},
		{"audience in a list", `{"sub":"42","aud":["other","app"],"iss":"me",` + hour + `}`, nil},
		{"wrong audience", `{"sub":"42","aud":"apps","iss":"me",` + hour + `}`, errAudience},
		{"no audience", `{"sub":"42","iss":"me",` + hour + `}`, errMissing},
		{"empty audience", `{"sub":"42","aud":[],"iss":"me",` + hour + `}`, errMissing},
		{"audience of numbers", `{"sub":"42","aud":[1],"iss":"me",` + hour + `}`, errClaims},
		{"wrong issuer", `{"sub":"42","aud":"app","iss":"you",` + hour + `}`, errIssuer},
		{"no issuer", `{"sub":"42","aud":"app",` + hour + `}`, errMissing},
		{"issuer in a list", `{"sub":"42","aud":"app","iss":["me"],` + hour + `}`, errClaims},

		{"no exp", `{"sub":"42","aud":"app","iss":"me"}`, errMissing},
		{"exp null", `{"sub":"42","aud":"app","iss":"me","exp":null}`, errClaims},
		{"exp a string", fmt.Sprintf(`{"sub":"42","aud":"app","iss":"me","exp":"%d"}`, at(time.Hour)), errClaims},
		{"exp in milliseconds", fmt.Sprintf(`{"sub":"42","aud":"app","iss":"me","exp":%d}`, now.Add(time.Hour).UnixMilli()), errClaims},
		{"exp in microseconds", fmt.Sprintf(`{"sub":"42","aud":"app","iss":"me","exp":%d}`, now.Add(time.Hour).UnixMicro()), errClaims},
		{"exp past all numbers", `{"sub":"42","aud":"app","iss":"me","exp":1e999}`, errClaims},
		{"exp huge", `{"sub":"42","aud":"app","iss":"me","exp":1e300}`, errClaims},
		{"exp negative", `{"sub":"42","aud":"app","iss":"me","exp":-1}`, errClaims},
		{"exp past", fmt.Sprintf(`{"sub":"42","aud":"app","iss":"me","exp":%d}`, at(-time.Hour)), ErrExpired},
		{"exp at the end of the leeway", fmt.Sprintf(`{"sub":"42","aud":"app","iss":"me","exp":%d}`, at(-30*time.Second)), ErrExpired},
		{"exp in the leeway", fmt.Sprintf(`{"sub":"42","aud":"app","iss":"me","exp":%d}`, at(-29*time.Second)), nil},
		{"exp now", fmt.Sprintf(`{"sub":"42","aud":"app","iss":"me","exp":%d}`, at(0)), nil},
		{"exp with a fraction", fmt.Sprintf(`{"sub":"42","aud":"app","iss":"me","exp":%d.9}`, at(time.Hour)), nil},
		{"expired and for another audience", fmt.Sprintf(`{"sub":"42","aud":"x","iss":"me","exp":%d}`, at(-time.Hour)), errAudience},
		{"nbf past", fmt.Sprintf(good+`,"nbf":%d}`, at(-time.Hour)), nil},
		{"nbf in the leeway", fmt.Sprintf(good+`,"nbf":%d}`, at(30*time.Second)), nil},
		{"nbf beyond the leeway", fmt.Sprintf(good+`,"nbf":%d}`, at(31*time.Second)), ErrNotYet},
		{"nbf a string", good + `,"nbf":"0"}`, errClaims},
		{"iat in the future", fmt.Sprintf(good+`,"iat":%d}`, at(time.Hour)), nil},

		{"no sub", `{"aud":"app","iss":"me",` + hour + `}`, errSubject},
		{"sub empty", `{"sub":"","aud":"app","iss":"me",` + hour + `}`, errSubject},
		{"sub null", `{"sub":null,"aud":"app","iss":"me",` + hour + `}`, errSubject},
		{"sub a number", `{"sub":42,"aud":"app","iss":"me",` + hour + `}`, errClaims},
		{"sub a list", `{"sub":["42"],"aud":"app","iss":"me",` + hour + `}`, errClaims},
		{"sub of 255 bytes", `{"sub":"` + strings.Repeat("x", 255) + `","aud":"app","iss":"me",` + hour + `}`, nil},
		{"sub of 256 bytes", `{"sub":"` + strings.Repeat("x", 256) + `","aud":"app","iss":"me",` + hour + `}`, errSubject},
		{"sub with a line end", `{"sub":"4\n2","aud":"app","iss":"me",` + hour + `}`, errSubject},
		{"sub with a zero", `{"sub":"4\u00002","aud":"app","iss":"me",` + hour + `}`, errSubject},
		{"sub with a C1 control", `{"sub":"4\u00852","aud":"app","iss":"me",` + hour + `}`, errSubject},
		{"sub with half a pair", `{"sub":"\ud800","aud":"app","iss":"me",` + hour + `}`, errSubject},
		{"sub not UTF-8", "{\"sub\":\"\xff\",\"aud\":\"app\",\"iss\":\"me\"," + hour + `}`, errClaims},
		{"sub in capitals alone", `{"SUB":"42","aud":"app","iss":"me",` + hour + `}`, errSubject},

		{"sub twice", good + `,"sub":"1"}`, errTwice},
		{"sub twice, once escaped", good + `,"s\u0075b":"1"}`, errTwice},
		{"exp twice", good + `,"exp":9999999999}`, errTwice},
		{"channels twice", good + `,"channels":[],"channels":["*"]}`, errTwice},
		{"another claim twice", good + `,"x":1,"x":2}`, nil},

		{"channels a string", good + `,"channels":"*"}`, errClaims},
		{"channels an object", good + `,"channels":{"*":true}}`, errClaims},
		{"channels null", good + `,"channels":null}`, errClaims},
		{"channels of numbers", good + `,"channels":[1]}`, errClaims},
		{"channels with a list in it", good + `,"channels":[["*"]]}`, errClaims},
		{"channels with null", good + `,"channels":[null]}`, errChannels},
		{"channels of 100", good + `,"channels":["a"` + strings.Repeat(`,"a"`, 99) + `]}`, nil},
		{"channels of 101", good + `,"channels":["a"` + strings.Repeat(`,"a"`, 100) + `]}`, errChannels},
		{"channels with a star inside", good + `,"channels":["a*b"]}`, errChannels},

		{"16 deep", good + `,"x":` + strings.Repeat("[", 15) + strings.Repeat("]", 15) + `}`, nil},
		{"17 deep", good + `,"x":` + strings.Repeat("[", 16) + strings.Repeat("]", 16) + `}`, errDepth},
		{"deep in a string", good + `,"x":"\"` + strings.Repeat("[", 100) + `"}`, nil},
		{"deep after brackets in a string", good + `,"x":["` + strings.Repeat("]", 100) + `",` + strings.Repeat("[", 16) + strings.Repeat("]", 16) + `]}`, errDepth},
		{"deep", good + `,"x":` + strings.Repeat("[", 2500) + strings.Repeat("]", 2500) + `}`, errDepth},
		{"deep and open", good + `,"x":` + strings.Repeat(`{"a":[`, 500) + `}`, errDepth},
		{"open", good + `,"x":[`, errForm},
		{"open string", good + `,"x":"\`, errForm},
		{"spaces everywhere", " {\t\"sub\" :\r\"42\" , \"aud\":[ \"app\" ]\n,\"iss\":\"me\", \"x\": { \"a,}]\" : \"\\\"}\" } , " + hour + " } ", nil},
		{"sub in another claim", good + `,"x":{"sub":"1"},"y":["sub","1"],"z":"\",\"sub\":\"1"}`, nil},
		{"a number", `1`, errClaims},
		{"a string", `"x"`, errClaims},
		{"no claims", `{}`, errMissing},
		{"no object", `[]`, errClaims},
		{"null", `null`, errMissing},
		{"no JSON", `sub=42`, errForm},
		{"two objects", good + `}{}`, errForm},
		{"empty", ``, errForm},
	}
	cfg := configFor(t, testKeys()["HS256"])
	cfg.Audience, cfg.Issuer, cfg.Leeway = "app", "me", 30*time.Second
	v := newVerifier(t, cfg)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			token := sign(t, testKeys()["HS256"], `{"alg":"HS256","typ":"JWT"}`, tt.payload)
			id, err := v.Verify(token, now)
			if !errors.Is(err, tt.want) || (id == nil) != (err != nil) {
				t.Errorf("Verify(%.200s) = %v, %v, want %v", tt.payload, id, err, tt.want)
			}
		})
	}
}

// TestVerifyHeaders verifies tokens with good signatures, and tokens that pretend to have one.
func TestVerifyHeaders(t *testing.T) {
	t.Parallel()
	payload := fmt.Sprintf(`{"sub":"42","channels":["*"],"exp":%d}`, now.Add(time.Hour).Unix())
	secret, rsaKey := testKeys()["HS256"], testKeys()["RS256"]
	file := pkix(t, public(rsaKey))
	block, _ := pem.Decode(file)
	unsigned := func(header string) []byte { return []byte(encode(header) + "." + encode(payload) + ".") }
	hmacOf := func(key []byte) []byte {
		text := encode(`{"alg":"HS256"}`) + "." + encode(payload)
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(text))
		return []byte(text + "." + encode(string(mac.Sum(nil))))
	}
	good := sign(t, secret, `{"alg":"HS256"}`, payload)
	otherSecret := SigningKey{jwt.SigningMethodHS256, bytes.Repeat([]byte("x"), 32)}
	tests := []struct {
		name  string
		key   SigningKey // the key of the verifier
		token []byte
		want  error
	}{
		{"good", secret, good, nil},
		{"kid of no interest", secret, sign(t, secret, `{"alg":"HS256","kid":"x"}`, payload), nil},
		{"no token", secret, nil, ErrNoToken},
		{"alg none", secret, unsigned(`{"alg":"none"}`), errSignature},
		{"alg none against a public key", rsaKey, unsigned(`{"alg":"none"}`), errSignature},
		{"alg None", rsaKey, unsigned(`{"alg":"None"}`), errSignature},
		{"alg empty", rsaKey, unsigned(`{"alg":""}`), errSignature},
		{"alg null", rsaKey, unsigned(`{"alg":null}`), errSignature},
		{"alg a list", rsaKey, unsigned(`{"alg":["RS256"]}`), errSignature},
		{"no alg", rsaKey, unsigned(`{}`), errSignature},
		{"header null", rsaKey, unsigned(`null`), errSignature},
		{"header a list", rsaKey, unsigned(`[]`), errForm},
		{"alg twice", secret, sign(t, secret, `{"alg":"HS256","alg":"none"}`, payload), errSignature},
		{"alg in capitals", secret, sign(t, secret, `{"ALG":"HS256"}`, payload), errSignature},
		{"confusion: the public key's file as a secret", rsaKey, hmacOf(file), errSignature},
		{"confusion: its DER", rsaKey, hmacOf(block.Bytes), errSignature},
		{"confusion: an empty secret", rsaKey, hmacOf(nil), errSignature},
		{"an empty secret", secret, hmacOf(nil), errSignature},
		{"another secret", secret, sign(t, otherSecret, `{"alg":"HS256"}`, payload), errSignature},
		{"HS512", secret, sign(t, SigningKey{jwt.SigningMethodHS512, secret.key}, `{"alg":"HS512"}`, payload), errSignature},
		{"RS512", rsaKey, sign(t, SigningKey{jwt.SigningMethodRS512, rsaKey.key}, `{"alg":"RS512"}`, payload), errSignature},
		{"PS256", rsaKey, sign(t, SigningKey{jwt.SigningMethodPS256, rsaKey.key}, `{"alg":"PS256"}`, payload), errSignature},
		{"signed as HS256, said to be RS256", rsaKey, sign(t, secret, `{"alg":"RS256"}`, payload), errSignature},
		{"a key in the header", secret, sign(t, otherSecret, `{"alg":"HS256","jwk":{"kty":"oct","k":"eHh4"}}`, payload), errSignature},
		{"crit", secret, sign(t, secret, `{"alg":"HS256","crit":["b64"],"b64":false}`, payload), errHeader},
		{"crit null", secret, sign(t, secret, `{"alg":"HS256","crit":null}`, payload), errHeader},
		{"kid a number", secret, sign(t, secret, `{"alg":"HS256","kid":1}`, payload), errHeader},
		{"two parts", secret, []byte("a.b"), errForm},
		{"four parts", secret, append(bytes.Clone(good), ".x"...), errForm},
		{"a line end in it", secret, append([]byte{'\n'}, good...), errForm},
		{"padding", secret, append(bytes.Clone(good), '='), errForm},
		{"a space", secret, append(bytes.Clone(good), ' '), errForm},
		{"dots", secret, []byte(".."), errForm},
		{"the signature cut", secret, good[:len(good)-3], errSignature},
		{"no signature", secret, good[:bytes.LastIndexByte(good, '.')+1], errSignature},
		{"a header of 1.5 KiB", secret, sign(t, secret, `{"alg":"HS256","x":"`+strings.Repeat("x", 1500)+`"}`, payload), nil},
		{"a header of 2 KiB", secret, sign(t, secret, `{"alg":"HS256","x":"`+strings.Repeat("x", 2000)+`"}`, payload), errForm},
		{"8 KiB of nothing", secret, bytes.Repeat([]byte("a"), MaxTokenBytes), errForm},
		{"over 8 KiB", secret, bytes.Repeat([]byte("a"), MaxTokenBytes+1), errLength},
		{"1 MiB", secret, bytes.Repeat([]byte("a."), 1<<19), errLength},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			id, err := newVerifier(t, configFor(t, tt.key)).Verify(tt.token, now)
			if !errors.Is(err, tt.want) || (id == nil) != (err != nil) {
				t.Fatalf("Verify = %v, %v, want %v", id, err, tt.want)
			}
			if err != nil && len(tt.token) > 3 && strings.Contains(err.Error(), string(tt.token)) {
				t.Errorf("the error holds the token: %v", err)
			}
		})
	}
}

// TestVerifyTrailingBits changes those bits of the last letter that are part of no byte: the text differs, the bytes are
// the same.
func TestVerifyTrailingBits(t *testing.T) {
	t.Parallel()
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	token := mint(t, testKeys()["HS256"], Claims{Subject: "42"})
	last := len(token) - 1
	token[last] = letters[strings.IndexByte(letters, token[last])^1]
	if _, err := newVerifier(t, configFor(t, testKeys()["HS256"])).Verify(token, now); !errors.Is(err, ErrBadToken) {
		t.Errorf("Verify = %v, want ErrBadToken", err)
	}
}

func TestVerifyEveryByteCounts(t *testing.T) {
	t.Parallel()
	v := newVerifier(t, configFor(t, testKeys()["HS256"]))
	token := mint(t, testKeys()["HS256"], Claims{Subject: "42"})
	for i := range token {
		changed := bytes.Clone(token)
		if changed[i]++; changed[i] == '.' {
			continue
		}
		if _, err := v.Verify(changed, now); !errors.Is(err, ErrBadToken) {
			t.Errorf("byte %d changed: Verify = %v, want ErrBadToken", i, err)
		}
	}
}

// TestVerifyKeepsNothing overwrites the token after Verify, as a server does whose buffer is used again.
func TestVerifyKeepsNothing(t *testing.T) {
	t.Parallel()
	v := newVerifier(t, configFor(t, testKeys()["HS256"]))
	token := mint(t, testKeys()["HS256"], Claims{Subject: "42", Channels: []string{"org:7"}})
	id, err := v.Verify(token, now)
	if err != nil {
		t.Fatal(err)
	}
	clear(token)
	if id.User != "42" || !id.May("org:7") {
		t.Errorf("the identity changed: %+v", id)
	}
}

func TestExpiresHasTheLeeway(t *testing.T) {
	t.Parallel()
	cfg := configFor(t, testKeys()["HS256"])
	cfg.Leeway = time.Minute
	id, err := newVerifier(t, cfg).Verify(mint(t, testKeys()["HS256"], Claims{Subject: "42"}), now.Add(time.Hour+30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if want := now.Add(time.Hour + time.Minute); !id.Expires.Equal(want) {
		t.Errorf("Expires = %v, want %v", id.Expires, want)
	}
}

func TestVerifySecretBesidePublicKey(t *testing.T) {
	t.Parallel()
	cfg := configFor(t, testKeys()["RS256"])
	cfg.SecretFile = configFor(t, testKeys()["HS256"]).SecretFile
	v := newVerifier(t, cfg)
	for _, alg := range algorithms {
		_, err := v.Verify(mint(t, testKeys()[alg], Claims{Subject: "42"}), now)
		if taken := alg == "HS256" || alg == "RS256"; taken != (err == nil) {
			t.Errorf("%s: %v", alg, err)
		}
	}
	if !v.Ready() || v.Stats() != (Stats{}) {
		t.Errorf("Ready, Stats = %v, %+v", v.Ready(), v.Stats())
	}
}

func TestVerifyConcurrently(t *testing.T) {
	t.Parallel()
	v := newVerifier(t, configFor(t, testKeys()["EdDSA"]))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			user := fmt.Sprint(i)
			token := mint(t, testKeys()["EdDSA"], Claims{Subject: user, Channels: []string{"user:{sub}", "all"}})
			for j := range 20 {
				at, want := now, error(nil)
				if j%2 == 1 { // each call must use its own time
					at, want = now.Add(2*time.Hour), ErrExpired
				}
				id, err := v.Verify(token, at)
				if !errors.Is(err, want) || err == nil && (id.User != user || !id.May("user:"+user)) {
					t.Errorf("Verify = %+v, %v, want %v", id, err, want)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkVerify(b *testing.B) {
	for _, alg := range algorithms {
		key := testKeys()[alg]
		cfg := configFor(b, key)
		cfg.Audience, cfg.Issuer = "app", "https://issuer.example"
		token := mint(b, key, Claims{Subject: "42", Channels: []string{"user:{sub}", "org:7:*"}, Audience: "app", Issuer: cfg.Issuer})
		v := newVerifier(b, cfg)
		b.Run("alg="+alg, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(token, now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRefuse measures the most work that a request with a bad token can cause.
func BenchmarkRefuse(b *testing.B) {
	cfg := configFor(b, testKeys()["RS256"])
	v := newVerifier(b, cfg)
	forged := mint(b, testKeys()["RS256"], Claims{Subject: "42"})
	if at := bytes.LastIndexByte(forged, '.') + 5; forged[at] == 'a' {
		forged[at] = 'b'
	} else {
		forged[at] = 'a'
	}
	deep := `{"x":` + strings.Repeat("[", 2900) + strings.Repeat("]", 2900) + `}`
	for _, tt := range []struct {
		name  string
		token []byte
	}{
		{"forged", forged},
		{"alg-none", []byte(encode(`{"alg":"none"}`) + "." + encode(`{}`) + ".")},
		{"8KiB-flat", []byte(encode(`{"alg":"none"}`) + "." + encode(`{"x":[`+strings.Repeat("[],", 1900)+`1]}`) + ".")},
		{"2KiB-header-flat", []byte(encode(`{"alg":[`+strings.Repeat("[],", 480)+`1]}`) + "." + encode(`{}`) + ".")},
		{"8KiB-letters", bytes.Repeat([]byte("a"), MaxTokenBytes)},
		{"8KiB-deep", []byte(encode(`{"alg":"none"}`) + "." + encode(deep) + ".")},
		{"2KiB-header-deep", []byte(encode(`{"alg":`+strings.Repeat("[", 700)+strings.Repeat("]", 700)+`}`) + "." + encode(`{}`) + ".")},
	} {
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(tt.token, now); !errors.Is(err, ErrBadToken) {
					b.Fatal(err)
				}
			}
		})
	}
}

func FuzzVerify(f *testing.F) {
	secret := testKeys()["HS256"]
	cfg := configFor(f, testKeys()["EdDSA"])
	cfg.SecretFile = configFor(f, secret).SecretFile
	v := newVerifier(f, cfg)
	f.Add([]byte(`{"alg":"HS256"}`), []byte(`{"sub":"42","exp":1900000000,"channels":["user:{sub}","org:*"]}`))
	f.Add([]byte(`{"alg":"EdDSA","kid":"1"}`), []byte(`{"sub":"*","exp":1900000000.5,"nbf":0}`))
	f.Add([]byte(`{"alg":"none","crit":[]}`), []byte(`null`))
	f.Add([]byte(`{"alg":"HS256"}`), []byte(`{"sub":"{sub}","exp":1e9,"channels":["notifications:*"]}`))
	f.Fuzz(func(t *testing.T, header, payload []byte) {
		text := encode(string(header)) + "." + encode(string(payload))
		signature, err := secret.method.Sign(text, secret.key)
		if err != nil {
			t.Fatal(err)
		}
		for _, token := range [][]byte{
			[]byte(text + "." + encode(string(signature))), // a signature that is valid for the text
			[]byte(text + "." + encode(string(payload))),
			header,
			payload,
		} {
			id, err := v.Verify(token, now)
			if (id == nil) == (err == nil) {
				t.Fatalf("Verify = %v, %v", id, err)
			}
			if err != nil {
				if len(token) > 20 && strings.Contains(err.Error(), string(token)) {
					t.Fatalf("the error holds the token: %v", err)
				}
				continue
			}
			if !isSubject(id.User) || !now.Before(id.Expires) || id.May("") || (*Identity)(nil).May(id.User) {
				t.Fatalf("Verify(%s) = %+v", payload, id)
			}
		}
	})
}

// The reason is sent in a close frame, which has room for 123 bytes (RFC 6455 section 5.5).
func TestReasonsFitACloseFrame(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		ErrNoToken, ErrBadToken, ErrExpired, ErrNotYet, ErrUnknownKey, errRetired, errLength, errDepth, errForm, errHeader, errNoKeyID,
		errSignature, errClaims, errTwice, errMissing, errAudience, errIssuer, errSubject, errChannels,
	} {
		if n := len(err.Error()); n > 123 {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}
