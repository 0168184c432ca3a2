package protocol

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the generated parts of testdata and PROTOCOL.md")

// golden compares got with a file, or writes the file under -update.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is out of date: look at what changed, then run go test ./protocol -update\n got %s\nwant %s", path, got, want)
	}
}

func readGolden(t testing.TB, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// indented encodes value as the files in testdata are written.
func indented(t *testing.T, value any) []byte {
	t.Helper()
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(value); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// goldenCommand is a row of commands.json: what a client may send, and how it is read.
type goldenCommand struct {
	Name string     `json:"name"`
	Seed bool       `json:"seed"` // the form of the article, verbatim
	Wire string     `json:"wire"`
	Want wantedText `json:"want"`
}

type wantedText struct {
	Type     string          `json:"type"`
	ID       json.RawMessage `json:"id,omitempty"`
	Channels []string        `json:"channels,omitempty"`
	Token    string          `json:"token,omitempty"`
}

// goldenRefusal is a row of refused.json: what is answered with an error message.
type goldenRefusal struct {
	Name string          `json:"name"`
	Wire string          `json:"wire"`
	Code ErrorCode       `json:"code"`
	ID   json.RawMessage `json:"id,omitempty"` // the "id" of the answer
}

// goldenMessage is a row of messages.json: a message to a client, and its exact bytes.
type goldenMessage struct {
	Name    string      `json:"name"`
	Seed    bool        `json:"seed"`
	Message messageText `json:"message"`
	Wire    string      `json:"wire"`
}

type messageText struct {
	Type        MessageType     `json:"type"`
	ID          json.RawMessage `json:"id,omitempty"`
	ClientID    string          `json:"clientId,omitempty"`
	UserID      string          `json:"userId,omitempty"`
	Channel     string          `json:"channel,omitempty"`
	Data        *string         `json:"data,omitempty"`
	Code        ErrorCode       `json:"code,omitempty"`
	Text        string          `json:"message,omitempty"`
	Reason      GapReason       `json:"reason,omitempty"`
	Dropped     uint64          `json:"dropped,omitempty"`
	ExpiresAt   int64           `json:"expiresAt,omitempty"`
	HeartbeatMs int64           `json:"heartbeatMs,omitempty"`
	Timestamp   int64           `json:"timestamp"`
}

func (m messageText) message() *Message {
	out := &Message{
		Type: m.Type, ID: m.ID, ClientID: m.ClientID, UserID: m.UserID, Channel: m.Channel, Code: m.Code, Text: m.Text,
		Reason: m.Reason, Dropped: m.Dropped, ExpiresAt: m.ExpiresAt, HeartbeatMs: m.HeartbeatMs, Timestamp: m.Timestamp,
	}
	if m.Data != nil {
		out.Data = *m.Data
	}
	return out
}
