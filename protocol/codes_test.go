package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/carillon-ws/carillon/protocol/websocket"
)

// named is a row of errors.json and gaps.json.
type named struct {
	Code    string `json:"code"`
	Meaning string `json:"meaning"`
}

// constants reads the constants of a type, and the comments after them, from codes.go: they are the table.
func constants(t *testing.T, typeName string) (rows []named) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "codes.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for _, decl := range file.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok || group.Tok != token.CONST {
			continue
		}
		for _, spec := range group.Specs {
			value := spec.(*ast.ValueSpec)
			if name, ok := value.Type.(*ast.Ident); !ok || name.Name != typeName {
				continue
			}
			code, err := strconv.Unquote(value.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			rows = append(rows, named{code, strings.TrimSpace(value.Comment.Text())})
		}
	}
	return rows
}

func TestCodesGolden(t *testing.T) {
	golden(t, "testdata/codes.json", indented(t, Codes))
	golden(t, "testdata/errors.json", indented(t, constants(t, "ErrorCode")))
	golden(t, "testdata/gaps.json", indented(t, constants(t, "GapReason")))
}

// comeback.json has the codes at the ends of the ranges, which are not in the table.
func TestComebackOfGolden(t *testing.T) {
	type row struct {
		Code     ws.StatusCode `json:"code"`
		Comeback Comeback      `json:"comeback"`
	}
	unlisted := []ws.StatusCode{
		1005, 1006, 1010, 1014, 1015, 2999, 3000, 3999, 4000, 4002, 4099, 4104, 4199, 4200, 4299, 4300, 4999,
	}
	rows := make([]row, 0, len(unlisted))
	for _, code := range unlisted {
		rows = append(rows, row{code, ComebackOf(code)})
	}
	golden(t, "testdata/comeback.json", indented(t, rows))
	for _, c := range Codes {
		if got := ComebackOf(c.Code); got != c.Comeback {
			t.Errorf("ComebackOf(%d) = %s, want %s as in Codes", c.Code, got, c.Comeback)
		}
	}
	for _, tc := range []row{
		{4000, ComebackNever},
		{4099, ComebackNever},
		{4199, ComebackBackoff},
		{4200, ComebackNow},
		{4299, ComebackNow},
		{4300, ComebackBackoff},
		{1006, ComebackBackoff},
		{3000, ComebackBackoff},
	} {
		if got := ComebackOf(tc.Code); got != tc.Comeback {
			t.Errorf("ComebackOf(%d) = %s, want %s", tc.Code, got, tc.Comeback)
		}
	}
}

func TestCodes(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range Codes {
		if _, _, err := websocket.ParseClose(binary.BigEndian.AppendUint16(nil, uint16(c.Code))); err != nil {
			t.Errorf("code %d may not be sent: %v", c.Code, err)
		}
		for _, key := range []string{c.Name, strconv.Itoa(int(c.Code))} {
			if seen[key] {
				t.Errorf("Codes has %s twice", key)
			}
			seen[key] = true
		}
		if c.Name == "" || c.Meaning == "" || c.Comeback == "" {
			t.Errorf("Codes has a row with a hole: %+v", c)
		}
		// A row of the table must not contradict the rule of its range.
		switch {
		case c.Code >= 4000 && c.Code < 4100 && c.Comeback != ComebackNever,
			c.Code >= 4100 && c.Code < 4200 && c.Comeback != ComebackBackoff,
			c.Code >= 4200 && c.Code < 4300 && c.Comeback != ComebackNow:
			t.Errorf("code %d has comeback %s, its range says otherwise", c.Code, c.Comeback)
		}
	}
}

func TestCloseErrors(t *testing.T) {
	for _, e := range []*websocket.CloseError{
		websocket.ErrProtocol, websocket.ErrReservedOpCode, websocket.ErrReservedBits, websocket.ErrUnmasked, websocket.ErrControlTooLong, websocket.ErrControlSplit, websocket.ErrContinuation,
		websocket.ErrNoContinuation, websocket.ErrLength, websocket.ErrClosePayload, websocket.ErrBinary, websocket.ErrUTF8, websocket.ErrMessageTooBig, websocket.ErrTooManyFrames,
		ErrMessageTimeout, ErrSlowConsumer, ErrHeartbeatMissed, ErrInternal, ErrRestart, RestartAfter(0), RestartAfter(1 << 62),
		websocket.ErrInflate, ErrTryAgainLater, TryAgainAfter(0), TryAgainAfter(1 << 62), ErrTokenRefused, ErrForbidden, ErrKicked, ErrRateLimit,
		ErrTokenExpired,
	} {
		listed := false
		for _, c := range Codes {
			listed = listed || c.Code == e.Code
		}
		if !listed {
			t.Errorf("%v has a code that Codes does not list", e)
		}
		if len(e.Reason) > websocket.MaxCloseReason || !utf8.ValidString(e.Reason) || e.Label == "" || strings.ContainsAny(e.Label, " \"\\") {
			t.Errorf("%+v: want a reason of at most %d bytes and a label of one word", *e, websocket.MaxCloseReason)
		}
		if want := fmt.Sprintf("close %d %s", e.Code, e.Reason); e.Error() != want {
			t.Errorf("Error() = %q, want %q", e.Error(), want)
		}
	}
	if got := RestartAfter(1500); got.Reason != "retry=1500" || got.Code != CloseServiceRestart {
		t.Errorf("RestartAfter(1500) = %v, want 1012 retry=1500", got)
	}
	if got := TryAgainAfter(1500); got.Reason != "retry=1500" || got.Code != CloseTryAgainLater {
		t.Errorf("TryAgainAfter(1500) = %v, want 1013 retry=1500", got)
	}
}

func TestErrorCodeOf(t *testing.T) {
	for _, tc := range []struct {
		in   error
		want ErrorCode
	}{
		{ErrBadJSON, ErrorBadJSON},
		{ErrBadID, ErrorBadJSON},
		{ErrBadType, ErrorBadType},
		{ErrBadChannel, ErrorBadChannel},
		{fmt.Errorf("subscribe: %w", ErrChannelLong), ErrorBadChannel},
		{ErrBadToken, ErrorBadToken},
		{errors.New("anything else"), ErrorInternal},
	} {
		if got := ErrorCodeOf(tc.in); got != tc.want {
			t.Errorf("ErrorCodeOf(%v) = %s, want %s", tc.in, got, tc.want)
		}
	}
}
