package http1

import "testing"

// Credentials are every part of a request that may have a token. They are nil unless Config asks for them.
func TestUpgradeCredentials(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		changes []string
		want    Credentials
	}{
		{"none", nil, Credentials{}},
		{
			"sub-protocol",
			[]string{"Sec-WebSocket-Protocol: carillon.v1, bearer.a.b.c"},
			Credentials{Subprotocols: []byte("carillon.v1, bearer.a.b.c")},
		},
		{
			"sub-protocols in two headers",
			[]string{"+Sec-WebSocket-Protocol: carillon.v1", "+Sec-WebSocket-Protocol: bearer.a.b.c"},
			Credentials{Subprotocols: []byte("carillon.v1, bearer.a.b.c")},
		},
		{"authorization", []string{"authorization:  Bearer a.b.c "}, Credentials{Authorization: []byte("Bearer a.b.c")}},
		{"cookie", []string{"Cookie: a=b; session=a.b.c"}, Credentials{Cookie: []byte("a=b; session=a.b.c")}},
		{"cookies in two headers", []string{"+Cookie: a=b", "+Cookie: session=x"}, Credentials{Cookie: []byte("a=b; session=x")}},
		{"query", []string{"GET /ws?user=ann&token=a.b.c HTTP/1.1"}, Credentials{Query: []byte("user=ann&token=a.b.c")}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			head := request(tc.changes...)
			u := NewUpgrader(Config{Credentials: true})
			_, got, refusal := u.Upgrade(nil, []byte(head))
			if refusal != nil {
				t.Fatalf("Upgrade(%q) = %d %q, want 101", head, refusal.Status, refusal.Body)
			}
			if !equalCredentials(*got.Credentials, tc.want) {
				t.Errorf("Upgrade(%q) has %q, want %q", head, got.Credentials, tc.want)
			}
			if _, got, _ = u.Upgrade(nil, []byte(request())); !equalCredentials(*got.Credentials, Credentials{}) {
				t.Errorf("the request after it has %q, want none", got.Credentials)
			}
			if _, got, _ = NewUpgrader(Config{}).Upgrade(nil, []byte(head)); got.Credentials != nil {
				t.Errorf("Upgrade(%q) has %q, want none while they are not looked for", head, got.Credentials)
			}
		})
	}
	// Two programs could use different ones of the two.
	twice := request("+Authorization: Bearer a", "+Authorization: Bearer b")
	if _, _, refusal := NewUpgrader(Config{Credentials: true}).Upgrade(nil, []byte(twice)); refusal == nil || refusal.Status != 400 {
		t.Errorf("Upgrade(two Authorization headers) = %+v, want 400", refusal)
	}
}

func equalCredentials(a, b Credentials) bool {
	return string(a.Subprotocols) == string(b.Subprotocols) && string(a.Authorization) == string(b.Authorization) &&
		string(a.Cookie) == string(b.Cookie) && string(a.Query) == string(b.Query)
}

// A head of many headers allocates nothing: its sender has not shown a token yet.
func TestManyCredentialsAllocateNothing(t *testing.T) {
	u := NewUpgrader(Config{Credentials: true})
	for name, line := range map[string]string{"cookies": "+Cookie:", "sub-protocols": "+Sec-WebSocket-Protocol: x"} {
		var lines []string
		for range 8000 / (len(line) + 1) {
			lines = append(lines, line)
		}
		head, dst := []byte(request(lines...)), make([]byte, 0, 1024)
		least := []byte(request())
		one, many := leastAllocs(func() { u.Upgrade(dst, least) }), leastAllocs(func() { u.Upgrade(dst, head) })
		if many > one {
			t.Errorf("%d %s: %v allocations, a head without any has %v", len(lines), name, many, one)
		}
	}
}
