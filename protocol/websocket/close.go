package websocket

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// CloseError is why a connection is ended with a close frame. The errors of RFC 6455 are listed here, those of Carillon in
// package protocol.
type CloseError struct {
	Code   ws.StatusCode
	Reason string // UTF-8; AppendClose cuts it to MaxCloseReason bytes
	Label  string // the metric label: one word for each cause
}

func (e *CloseError) Error() string {
	return fmt.Sprintf("close %d %s", e.Code, e.Reason)
}

// Because returns a copy of e with another reason.
func (e *CloseError) Because(why string) *CloseError { return &CloseError{e.Code, why, e.Label} }

// CodeNone stands for a close frame without a code. It is never sent (RFC 6455 section 7.4.1).
const CodeNone ws.StatusCode = 1005

// MaxCloseReason is how many bytes of a close frame are left for the reason (RFC 6455 sections 5.5 and 5.5.1).
const MaxCloseReason = ws.MaxControlFramePayloadSize - 2

// The rules of framing that a client can break, each with its close code.
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

// AppendClose appends the close frame of e. If the code is 0 or [CodeNone], the frame is empty: it answers an empty one. A
// reason that is too long is cut between two runes.
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

// ParseClose reads the payload of a close frame (RFC 6455 sections 5.5.1 and 7.4). The code of an empty one is [CodeNone].
// An error is [ErrClosePayload] or [ErrUTF8].
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
