package main

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/carillon-ws/carillon/bench/report"
)

// fieldsOf collects the names that a type has in JSON, with those of all that is in it.
func fieldsOf(of reflect.Type, names map[string]bool) {
	switch of.Kind() {
	case reflect.Pointer, reflect.Slice:
		fieldsOf(of.Elem(), names)
		return
	case reflect.Struct:
	default:
		return
	}
	for f := range of.Fields() {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			names[name] = true
			fieldsOf(f.Type, names)
		} else if f.Anonymous {
			fieldsOf(f.Type, names)
		}
	}
}

func TestEveryFieldIsDocumented(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(readme), "\n## The JSON\n")
	text, _, _ = strings.Cut(text, "\n## ")
	names := map[string]bool{}
	fieldsOf(reflect.TypeFor[report.Result](), names)
	fieldsOf(reflect.TypeFor[vsResult](), names)
	for name := range names {
		if !strings.Contains(text, "`"+name+"`") {
			t.Errorf("README.md does not document the field %q", name)
		}
	}
}
