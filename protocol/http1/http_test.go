package http1

import (
	"strings"
	"testing"
)

func TestIsLoopbackHost(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want bool
	}{
		{"localhost", true},
		{"LocalHost", true},
		{"app.localhost", true},
		{"127.0.0.1", true},
		{"127.255.255.254", true},
		{"::1", true},
		{"[::1]", true},
		{"::ffff:127.0.0.1", true},
		{"", false},
		{"localhost.", false},
		{"localhost:8080", false},
		{"notlocalhost", false},
		{"localhost.example", false},
		{"evil.example#.localhost", false},
		{"evil.example/.localhost", false},
		{"evil@localhost", false},
		{"0.0.0.0", false},
		{"::", false},
		{"10.0.0.1", false},
		{"128.0.0.1", false},
		{"127.1", false},
		{"[::1", false},
		{"::1]", false},
		{"[[::1]]", false},
		{"[localhost", false},
		{"localho\u017ft", false},
	} {
		if got := IsLoopbackHost(tc.in); got != tc.want {
			t.Errorf("IsLoopbackHost(%q) = %t, want %t", tc.in, got, tc.want)
		}
	}
}

func TestSplitHostPort(t *testing.T) {
	for _, tc := range []struct {
		in, host, port string
		ok             bool
	}{
		{"gate.example", "gate.example", "", true},
		{"gate.example:8080", "gate.example", "8080", true},
		{"127.0.0.1:80", "127.0.0.1", "80", true},
		{"[::1]", "[::1]", "", true},
		{"[::1]:8080", "[::1]", "8080", true},
		{"a_b-c", "a_b-c", "", true},
		{"", "", "", false},
		{":80", "", "80", false},
		{"gate.example:", "gate.example", "", false},
		{"gate.example:x", "gate.example", "x", false},
		{"gate.example:123456", "gate.example", "123456", false},
		{"a:b:1", "a", "b:1", false},
		{"::1", "", ":1", false},
		{"[::1]x", "[::1]", "", false},
		{"[::1]x:1", "[::1]", ":1", false},
		{"[127.0.0.1]", "[127.0.0.1]", "", false},
		{"[fe80::1%25eth0]", "[fe80::1%25eth0]", "", false},
		{"[]", "[]", "", false},
		{"[", "[", "", false},
		{"]", "]", "", false},
		{"a]b", "a]", "", false},
		{"u@gate.example", "u@gate.example", "", false},
		{"gate.example/x", "gate.example/x", "", false},
		{"caf\u00e9", "caf\u00e9", "", false},
	} {
		host, port, ok := splitHostPort(tc.in)
		if ok != tc.ok || ok && (host != tc.host || port != tc.port) {
			t.Errorf("splitHostPort(%q) = %q, %q, %t, want %q, %q, %t", tc.in, host, port, ok, tc.host, tc.port, tc.ok)
		}
		if _, _, same := splitHostPort([]byte(tc.in)); same != ok {
			t.Errorf("splitHostPort(%q) = %t as bytes, %t as a string", tc.in, same, ok)
		}
	}
}

// Every byte at every place of a value. The other bytes are those that the check of eight bytes could confuse with bad ones.
func TestIsFieldValue(t *testing.T) {
	for c := range 256 {
		want := c >= ' ' && c != 0x7f || c == '\t'
		for _, around := range []string{"x", " ", "~", "\x80", "\xff", "\t"} {
			for at := range 20 {
				value := []byte(strings.Repeat(around, 20))
				value[at] = byte(c)
				if got := isFieldValue(value); got != want {
					t.Fatalf("isFieldValue(%q) = %t, want %t", value, got, want)
				}
			}
		}
	}
}
