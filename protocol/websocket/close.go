package websocket

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// CloseError ends a connection with a close frame. Those of RFC 6455 are listed here, the gateway's own in package
// protocol.
type CloseError struct {
	Code   ws.StatusCode
	Reason string // at most MaxCloseReason bytes of UTF-8; what is longer is cut
	Label  string // the metric label: one word a cause
}

func (e *CloseError) Error() string {
	return fmt.Sprintf("close %d %s", e.Code, e.Reason)
}

// Because returns e with another reason.
func (e *CloseError) Because(why string) *CloseError { return &CloseError{e.Code, why, e.Label} }

// CodeNone stands for a close frame without a code. It is never on the wire (RFC 6455 section 7.4.1).
const CodeNone ws.StatusCode = 1005

// MaxCloseReason is how many bytes a control frame has for the reason, beside the code (RFC 6455 sections 5.5 and
// 5.5.1).
const MaxCloseReason = ws.MaxControlFramePayloadSize - 2

// What a client can do wrong in its frames, each with its close code.
var (
	ErrProtocol       = &CloseError{ws.StatusProtocolError, "protocol error", "protocol_error"}
	ErrReservedOpCode = &CloseError{ws.StatusProtocolError, "reserved opcode", "protocol_error"}
	ErrReservedBits   = &CloseError{ws.StatusProtocolError, "reserved bits set", "protocol_error"}
	ErrUnmasked       = &CloseError{ws.StatusProtocolError, "frame is not masked", "protocol_error"}
	ErrControlTooLong = &CloseError{ws.StatusProtocolError, "control frame over 125 bytes", "protocol_error"}
	ErrControlSplit   = &CloseError{ws.StatusProtocolError, "control frame is fragmented", "protocol_error"}
	ErrContinuation   = &CloseError{ws.StatusProtocolError, "continuation without a message", "protocol_error"}
	ErrNoContinuation = &CloseError{ws.StatusProtocolError, "message inside a message", "protocol_error"}
	ErrLength         = &CloseError{ws.StatusProtocolError, "bad payload length", "protocol_error"}
	ErrClosePayload   = &CloseError{ws.StatusProtocolError, "bad close payload", "protocol_error"}
	ErrBinary         = &CloseError{ws.StatusUnsupportedData, "text messages only", "binary"}
	ErrUTF8           = &CloseError{ws.StatusInvalidFramePayloadData, "text is not UTF-8", "bad_utf8"}
	ErrInflate        = &CloseError{ws.StatusInvalidFramePayloadData, "corrupt compressed data", "bad_deflate"}
	ErrMessageTooBig  = &CloseError{ws.StatusMessageTooBig, "message too big", "message_too_big"}
	ErrTooManyFrames  = &CloseError{ws.StatusPolicyViolation, "too many fragments", "too_many_fragments"}
)

// AppendClose appends the close frame of e. A code of zero, or [CodeNone], gives an empty one, which answers an empty
// one. A reason that does not fit is cut between two runes.
func AppendClose(dst []byte, e *CloseError) []byte {
	if e.Code == 0 || e.Code == CodeNone {
		return AppendHeader(dst, ws.OpClose, 0)
	}
	reason := e.Reason
	if len(reason) > MaxCloseReason {
		end := MaxCloseReason
		for end > 0 && !utf8.RuneStart(reason[end]) {
			end--
		}
		reason = reason[:end]
	}
	dst = AppendHeader(dst, ws.OpClose, 2+len(reason))
	dst = binary.BigEndian.AppendUint16(dst, uint16(e.Code))
	return append(dst, reason...)
}

// ParseClose reads the payload of a close frame (RFC 6455 sections 5.5.1 and 7.4). An empty one gives [CodeNone]. An
// error is [ErrClosePayload] or [ErrUTF8].
func ParseClose(payload []byte) (code ws.StatusCode, reason string, err error) {
	if len(payload) == 0 {
		return CodeNone, "", nil
	}
	if len(payload) < 2 {
		return 0, "", ErrClosePayload
	}
	code = ws.StatusCode(binary.BigEndian.Uint16(payload))
	if !validCloseCode(code) {
		return 0, "", ErrClosePayload
	}
	if !utf8.Valid(payload[2:]) {
		return 0, "", ErrUTF8
	}
	return code, string(payload[2:]), nil
}

// validCloseCode reports whether a client may send code (RFC 6455 section 7.4.2, and the IANA registry up to 1014).
func validCloseCode(code ws.StatusCode) bool {
	switch {
	case code >= 3000 && code <= 4999:
		return true
	case code >= 1000 && code <= 1014:
		return code != 1004 && code != CodeNone && code != 1006
	default:
		return false
	}
}
