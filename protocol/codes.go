package protocol

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/gobwas/ws"
)

// Subprotocol is the WebSocket sub-protocol of this wire version. It is answered when offered, never required.
const Subprotocol = "carillon.v1"

// Comeback tells a client what to do after a close code.
type Comeback string

// What to do after a close code.
const (
	ComebackNever   Comeback = "never"   // the same attempt would end the same way
	ComebackBackoff Comeback = "backoff" // dial again with jittered backoff
	ComebackHint    Comeback = "hint"    // as the reason says: "retry=<ms>", else with backoff
	ComebackNow     Comeback = "now"     // dial again at once
)

// Close codes of the gateway, beside those of RFC 6455 section 7.4.1.
const (
	CloseBadToken         ws.StatusCode = 4001
	CloseForbidden        ws.StatusCode = 4003
	CloseKicked           ws.StatusCode = 4008
	CloseSlowConsumer     ws.StatusCode = 4100
	CloseHeartbeatMissed  ws.StatusCode = 4101
	CloseRateLimit        ws.StatusCode = 4102
	CloseTokenExpired     ws.StatusCode = 4103
	CloseServiceRestart   ws.StatusCode = 1012 // IANA WebSocket close code registry
	CloseTryAgainLater    ws.StatusCode = 1013 // IANA WebSocket close code registry
	closeNoStatusReceived ws.StatusCode = 1005 // never on the wire, RFC 6455 section 7.4.1
)

// Code is one row of the close code table.
type Code struct {
	Code     ws.StatusCode `json:"code"`
	Name     string        `json:"name"`
	Meaning  string        `json:"meaning"`
	Comeback Comeback      `json:"comeback"`
}

// Codes is the close code table, mirrored by the client and checked against testdata/codes.json.
// Codes that are not listed follow their range: 4000-4099 never, 4100-4199 backoff, 4200-4299 now, others backoff.
var Codes = []Code{
	{ws.StatusNormalClosure, "normal", "the peer is done", ComebackNever},
	{ws.StatusGoingAway, "going_away", "the peer leaves, or the server stops", ComebackBackoff},
	{ws.StatusProtocolError, "protocol_error", "a frame broke RFC 6455", ComebackBackoff},
	{ws.StatusUnsupportedData, "unsupported_data", "a binary message: this protocol speaks text", ComebackBackoff},
	{ws.StatusInvalidFramePayloadData, "invalid_payload", "text that is not UTF-8, or compressed data that is corrupt", ComebackBackoff},
	{ws.StatusPolicyViolation, "policy_violation", "a limit that is not about size", ComebackBackoff},
	{ws.StatusMessageTooBig, "message_too_big", "a message over the size limit", ComebackBackoff},
	{ws.StatusInternalServerError, "internal", "the gateway failed on this connection", ComebackBackoff},
	{CloseServiceRestart, "restart", "the gateway restarts; the reason says when to return", ComebackHint},
	{CloseTryAgainLater, "try_again_later", "the gateway is full; the reason says when to return", ComebackHint},
	{CloseBadToken, "bad_token", "the token is missing or not valid", ComebackNever},
	{CloseForbidden, "forbidden", "the token does not allow this", ComebackNever},
	{CloseKicked, "kicked", "an operator ended the connection", ComebackNever},
	{CloseSlowConsumer, "slow_consumer", "the client did not read fast enough", ComebackBackoff},
	{CloseHeartbeatMissed, "heartbeat_missed", "nothing was heard from the client", ComebackBackoff},
	{CloseRateLimit, "rate_limit", "the client sent too much", ComebackBackoff},
	{CloseTokenExpired, "token_expired", "the token ended: return with a new one", ComebackBackoff},
}

// ComebackOf returns what a client does after a close code, listed in [Codes] or not.
func ComebackOf(code ws.StatusCode) Comeback {
	for _, c := range Codes {
		if c.Code == code {
			return c.Comeback
		}
	}
	switch {
	case code >= 4000 && code < 4100:
		return ComebackNever
	case code >= 4200 && code < 4300:
		return ComebackNow
	default:
		return ComebackBackoff
	}
}

// ErrorCode is the code of an error message: the connection stays, the command was refused.
type ErrorCode string

// The codes of error messages.
const (
	ErrorBadJSON         ErrorCode = "bad_json"          // not a JSON object, or its "id" cannot be echoed
	ErrorBadType         ErrorCode = "bad_type"          // "type" is missing or unknown
	ErrorBadChannel      ErrorCode = "bad_channel"       // the channel's name is missing or not allowed
	ErrorTooManyChannels ErrorCode = "too_many_channels" // over the connection's limit of subscriptions
	ErrorForbidden       ErrorCode = "forbidden"         // the identity has no right to this channel
	ErrorRateLimited     ErrorCode = "rate_limited"      // the command came too soon
	ErrorBadToken        ErrorCode = "bad_token"         // the token was refused; the old one stays in force
	ErrorInternal        ErrorCode = "internal"          // the gateway could not do it now; try again soon
)

// ErrorCodeOf returns the code that tells a client of an error of [Decoder.Decode] or [ParseChannel].
func ErrorCodeOf(err error) ErrorCode {
	switch {
	case errors.Is(err, ErrBadJSON), errors.Is(err, ErrBadID):
		return ErrorBadJSON
	case errors.Is(err, ErrBadType):
		return ErrorBadType
	case errors.Is(err, ErrBadToken):
		return ErrorBadToken
	case errors.Is(err, ErrBadChannel), errors.Is(err, ErrChannelEmpty), errors.Is(err, ErrChannelLong),
		errors.Is(err, ErrChannelUTF8), errors.Is(err, ErrChannelControl), errors.Is(err, ErrChannelPrefix):
		return ErrorBadChannel
	default:
		return ErrorInternal
	}
}

// GapReason says why something may have been missed.
type GapReason string

// The reasons of gap messages. Clients add one of their own: reconnected.
const (
	GapRedis    GapReason = "redis"    // the link to Redis was down and is up
	GapOverload GapReason = "overload" // a loop's mailbox was full
	GapSlow     GapReason = "slow"     // this connection's backlog was full
)

// CloseError ends a connection with a close code. Values are built in this package only, so that every reason that
// can reach the wire is listed here, but for why a token is not good.
type CloseError struct {
	Code   ws.StatusCode
	Reason string // at most 123 bytes of UTF-8, RFC 6455 section 5.5
	Label  string // the metric label: one word a cause
}

func (e *CloseError) Error() string {
	return fmt.Sprintf("close %d %s", e.Code, e.Reason)
}

// What a peer can do wrong on the wire, each with its close code.
var (
	ErrProtocol        = &CloseError{ws.StatusProtocolError, "protocol error", "protocol_error"}
	ErrReservedOpCode  = &CloseError{ws.StatusProtocolError, "reserved opcode", "protocol_error"}
	ErrReservedBits    = &CloseError{ws.StatusProtocolError, "reserved bits set", "protocol_error"}
	ErrUnmasked        = &CloseError{ws.StatusProtocolError, "frame is not masked", "protocol_error"}
	ErrControlTooLong  = &CloseError{ws.StatusProtocolError, "control frame over 125 bytes", "protocol_error"}
	ErrControlSplit    = &CloseError{ws.StatusProtocolError, "control frame is fragmented", "protocol_error"}
	ErrContinuation    = &CloseError{ws.StatusProtocolError, "continuation without a message", "protocol_error"}
	ErrNoContinuation  = &CloseError{ws.StatusProtocolError, "message inside a message", "protocol_error"}
	ErrLength          = &CloseError{ws.StatusProtocolError, "bad payload length", "protocol_error"}
	ErrClosePayload    = &CloseError{ws.StatusProtocolError, "bad close payload", "protocol_error"}
	ErrBinary          = &CloseError{ws.StatusUnsupportedData, "text messages only", "binary"}
	ErrUTF8            = &CloseError{ws.StatusInvalidFramePayloadData, "text is not UTF-8", "bad_utf8"}
	ErrInflate         = &CloseError{ws.StatusInvalidFramePayloadData, "corrupt compressed data", "bad_deflate"}
	ErrMessageTooBig   = &CloseError{ws.StatusMessageTooBig, "message too big", "message_too_big"}
	ErrTooManyFrames   = &CloseError{ws.StatusPolicyViolation, "too many fragments", "too_many_fragments"}
	ErrMessageTimeout  = &CloseError{ws.StatusPolicyViolation, "message not finished in time", "message_timeout"}
	ErrSlowConsumer    = &CloseError{CloseSlowConsumer, "slow consumer", "slow_consumer"}
	ErrHeartbeatMissed = &CloseError{CloseHeartbeatMissed, "heartbeat missed", "heartbeat_missed"}
	ErrInternal        = &CloseError{ws.StatusInternalServerError, "internal error", "internal"}
	ErrRestart         = &CloseError{CloseServiceRestart, "restart", "restart"}
	ErrTryAgainLater   = &CloseError{CloseTryAgainLater, "try again later", "try_again_later"}
	ErrInboundFull     = &CloseError{CloseTryAgainLater, "try again later", "inbound_full"}
)

// What an identity, or an operator, ends a connection for. A token that a command brings and that cannot be read is
// [ErrBadToken]: the connection stays.
var (
	ErrTokenRefused = &CloseError{CloseBadToken, "bad token", "bad_token"}
	ErrForbidden    = &CloseError{CloseForbidden, "forbidden", "forbidden"}
	ErrKicked       = &CloseError{CloseKicked, "kicked", "kicked"}
	ErrRateLimit    = &CloseError{CloseRateLimit, "rate limit", "rate_limit"}
	ErrTokenExpired = &CloseError{CloseTokenExpired, "token expired", "token_expired"}
)

// Because returns e with another reason, of at most 123 bytes: why a token is not good.
func (e *CloseError) Because(why string) *CloseError { return &CloseError{e.Code, why, e.Label} }

// RestartAfter returns [ErrRestart] with a hint to come back after ms milliseconds.
func RestartAfter(ms int64) *CloseError {
	return &CloseError{ErrRestart.Code, "retry=" + strconv.FormatInt(ms, 10), ErrRestart.Label}
}

// TryAgainAfter returns [ErrTryAgainLater] with a hint to come back after ms milliseconds.
func TryAgainAfter(ms int64) *CloseError {
	return &CloseError{ErrTryAgainLater.Code, "retry=" + strconv.FormatInt(ms, 10), ErrTryAgainLater.Label}
}

// InboundFullAfter returns [ErrInboundFull] with a hint to come back after ms milliseconds.
func InboundFullAfter(ms int64) *CloseError {
	return &CloseError{ErrInboundFull.Code, "retry=" + strconv.FormatInt(ms, 10), ErrInboundFull.Label}
}

// PeerClose is the end that the peer asked for: its code is echoed, as RFC 6455 section 5.5.1 asks, its reason is not.
// A close frame without a code (1005 from [ParseClose]) is echoed without one.
func PeerClose(code ws.StatusCode) *CloseError {
	return &CloseError{Code: code, Label: "peer"}
}
