package protocol

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// Marks in PROTOCOL.md. The block after a mark is generated from testdata.
var (
	exampleMark = regexp.MustCompile("(?m)^<!-- example (\\S+): (.+) -->\n(```json\n.*\n```\n)?")
	tableMark   = regexp.MustCompile(`(?m)^<!-- table (\S+) -->\n(\n(\|.*\n)+)?`)
)

// PROTOCOL.md shows an example of every type of message, and every row of the tables in testdata.
func TestDocument(t *testing.T) {
	const path = "PROTOCOL.md"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	examples, types := wires(t)
	shown := map[string]bool{}
	got := exampleMark.ReplaceAllStringFunc(string(text), func(block string) string {
		mark := exampleMark.FindStringSubmatch(block)
		key := mark[1] + ": " + mark[2]
		wire, ok := examples[key]
		if !ok {
			t.Errorf("%s shows %q, which testdata does not hold", path, key)
		}
		shown[types[key]] = true
		return fmt.Sprintf("<!-- example %s -->\n```json\n%s\n```\n", key, wire)
	})
	got = tableMark.ReplaceAllStringFunc(got, func(block string) string {
		file := tableMark.FindStringSubmatch(block)[1]
		return fmt.Sprintf("<!-- table %s -->\n\n%s", file, table(t, file))
	})
	golden(t, path, []byte(got))
	for key, kind := range types {
		if !shown[kind] {
			t.Errorf("%s shows no example of %s, such as %q", path, kind, key)
		}
	}
	for _, file := range []string{"codes.json", "errors.json", "gaps.json"} {
		if !strings.Contains(got, "<!-- table "+file+" -->") {
			t.Errorf("%s has no table of %s", path, file)
		}
	}
}

// wires returns the bytes and the kind of each example.
func wires(t *testing.T) (wire, kind map[string]string) {
	t.Helper()
	wire, kind = map[string]string{}, map[string]string{}
	var commands []goldenCommand
	readGolden(t, "commands.json", &commands)
	for _, row := range commands {
		key := "commands.json: " + row.Name
		wire[key], kind[key] = row.Wire, "command "+row.Want.Type
	}
	var messages []goldenMessage
	readGolden(t, "messages.json", &messages)
	for _, row := range messages {
		key := "messages.json: " + row.Name
		wire[key], kind[key] = row.Wire, "message "+string(row.Message.Type)
	}
	if len(wire) != len(commands)+len(messages) {
		t.Error("testdata has a name twice")
	}
	return wire, kind
}

func table(t *testing.T, file string) string {
	t.Helper()
	var out strings.Builder
	if file == "codes.json" {
		var rows []Code
		readGolden(t, file, &rows)
		out.WriteString("| code | name | meaning | connect again |\n|---|---|---|---|\n")
		for _, row := range rows {
			fmt.Fprintf(&out, "| %d | `%s` | %s | %s |\n", row.Code, row.Name, row.Meaning, row.Comeback)
		}
		return out.String()
	}
	var rows []named
	readGolden(t, file, &rows)
	out.WriteString("| code | meaning |\n|---|---|\n")
	for _, row := range rows {
		fmt.Fprintf(&out, "| `%s` | %s |\n", row.Code, row.Meaning)
	}
	return out.String()
}
