package protocol

import (
	"errors"
	"strconv"

	"github.com/gobwas/ws"

	"github.com/carillon-ws/carillon/protocol/websocket"
)

// Subprotocol is the WebSocket sub-protocol of this wire version. The gateway accepts it if a client offers it, and does
// not require it.
const Subprotocol = "carillon.v1"

// Comeback says when a client connects again after a close code.
type Comeback string

// When a client connects again.
const (
	ComebackNever   Comeback = "never"   // never: the same attempt would end the same way
	ComebackBackoff Comeback = "backoff" // after a backoff with jitter
	ComebackHint    Comeback = "hint"    // after the time in the reason, "retry=<ms>"; without one, after a backoff
	ComebackNow     Comeback = "now"     // at once
)

// Close codes of the gateway, beside those of RFC 6455 section 7.4.1.
const (
	CloseBadToken        ws.StatusCode = 4001
	CloseForbidden       ws.StatusCode = 4003
	CloseKicked          ws.StatusCode = 4008
	CloseSlowConsumer    ws.StatusCode = 4100
	CloseHeartbeatMissed ws.StatusCode = 4101
	CloseRateLimit       ws.StatusCode = 4102
	CloseTokenExpired    ws.StatusCode = 4103
	CloseServiceRestart  ws.StatusCode = 1012 // IANA WebSocket close code registry
	CloseTryAgainLater   ws.StatusCode = 1013 // IANA WebSocket close code registry
)

// Code is one row of the close code table.
type Code struct {
	Code     ws.StatusCode `json:"code"`
	Name     string        `json:"name"`
	Meaning  string        `json:"meaning"`
	Comeback Comeback      `json:"comeback"`
}

// Codes is the close code table. The client library has the same table; tests compare both with testdata/codes.json.
// For codes that are not listed the range counts: 4000-4099 never, 4100-4199 backoff, 4200-4299 now, others backoff.
var Codes = []Code{
	{ws.StatusNormalClosure, "normal", "the connection is not needed any more", ComebackNever},
	{ws.StatusGoingAway, "going_away", "the peer goes away, or the server stops", ComebackBackoff},
	{ws.StatusProtocolError, "protocol_error", "a frame broke RFC 6455", ComebackBackoff},
	{ws.StatusUnsupportedData, "unsupported_data", "a binary message: only text is allowed", ComebackBackoff},
	{ws.StatusInvalidFramePayloadData, "invalid_payload", "text that is not UTF-8, or compressed data that is corrupt", ComebackBackoff},
	{ws.StatusPolicyViolation, "policy_violation", "a limit other than the size of a message", ComebackBackoff},
	{ws.StatusMessageTooBig, "message_too_big", "a message over the size limit", ComebackBackoff},
	{ws.StatusInternalServerError, "internal", "an error of the gateway itself", ComebackBackoff},
	{CloseServiceRestart, "restart", "the gateway restarts; the reason says when to connect again", ComebackHint},
	{CloseTryAgainLater, "try_again_later", "the gateway is full; the reason says when to connect again", ComebackHint},
	{CloseBadToken, "bad_token", "the token is missing or not valid", ComebackNever},
	{CloseForbidden, "forbidden", "the token does not allow this", ComebackNever},
	{CloseKicked, "kicked", "an operator ended the connection", ComebackNever},
	{CloseSlowConsumer, "slow_consumer", "the client did not read fast enough", ComebackBackoff},
	{CloseHeartbeatMissed, "heartbeat_missed", "the client sent nothing for too long, and did not answer a ping", ComebackBackoff},
	{CloseRateLimit, "rate_limit", "the client sent too many messages", ComebackBackoff},
	{CloseTokenExpired, "token_expired", "the token has expired: connect again with a new one", ComebackBackoff},
}

// ComebackOf returns when a client connects again after a close code, whether [Codes] has it or not.
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

// ErrorCode is the code of an error message: a command was refused, and the connection stays open.
type ErrorCode string

// The codes of error messages.
const (
	ErrorBadJSON         ErrorCode = "bad_json"          // not a JSON object, or its "id" is not a string or number of at most 64 bytes
	ErrorBadType         ErrorCode = "bad_type"          // "type" is missing or unknown
	ErrorBadChannel      ErrorCode = "bad_channel"       // the channel's name is missing, or is not a valid name
	ErrorTooManyChannels ErrorCode = "too_many_channels" // the connection has as many channels as it may have
	ErrorForbidden       ErrorCode = "forbidden"         // the token does not allow this channel
	ErrorRateLimited     ErrorCode = "rate_limited"      // the client sent too many messages in a short time
	ErrorBadToken        ErrorCode = "bad_token"         // the token was refused; the old one stays valid
	ErrorInternal        ErrorCode = "internal"          // the gateway cannot do it now; try again soon
)

// ErrorCodeOf returns the code for an error of [Decoder.Decode] or [ParseChannel].
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

// GapReason says why publications may have been missed.
type GapReason string

// The reasons of gap messages. The client library has one more: reconnected.
const (
	GapRedis    GapReason = "redis"    // the gateway's connection to Redis was down and is up again
	GapOverload GapReason = "overload" // the gateway was overloaded: a loop's mailbox was full
	GapSlow     GapReason = "slow"     // this connection's backlog was full
)

// Why the gateway ends a connection. Package websocket has the reasons that concern frames.
var (
	ErrMessageTimeout  = &websocket.CloseError{Code: ws.StatusPolicyViolation, Reason: "message not finished in time", Label: "message_timeout"}
	ErrSlowConsumer    = &websocket.CloseError{Code: CloseSlowConsumer, Reason: "slow consumer", Label: "slow_consumer"}
	ErrHeartbeatMissed = &websocket.CloseError{Code: CloseHeartbeatMissed, Reason: "heartbeat missed", Label: "heartbeat_missed"}
	ErrInternal        = &websocket.CloseError{Code: ws.StatusInternalServerError, Reason: "internal error", Label: "internal"}
	ErrRestart         = &websocket.CloseError{Code: CloseServiceRestart, Reason: "restart", Label: "restart"}
	ErrTryAgainLater   = &websocket.CloseError{Code: CloseTryAgainLater, Reason: "try again later", Label: "try_again_later"}
	ErrInboundFull     = &websocket.CloseError{Code: CloseTryAgainLater, Reason: "try again later", Label: "inbound_full"}
)

// Why a token, a rate limit or an operator ends a connection. [ErrBadToken] is different: it refuses an auth command, and
// the connection stays open.
var (
	ErrTokenRefused = &websocket.CloseError{Code: CloseBadToken, Reason: "bad token", Label: "bad_token"}
	ErrForbidden    = &websocket.CloseError{Code: CloseForbidden, Reason: "forbidden", Label: "forbidden"}
	ErrKicked       = &websocket.CloseError{Code: CloseKicked, Reason: "kicked", Label: "kicked"}
	ErrRateLimit    = &websocket.CloseError{Code: CloseRateLimit, Reason: "rate limit", Label: "rate_limit"}
	ErrTokenExpired = &websocket.CloseError{Code: CloseTokenExpired, Reason: "token expired", Label: "token_expired"}
)

// RestartAfter returns [ErrRestart] with the hint to connect again after ms milliseconds.
func RestartAfter(ms int64) *websocket.CloseError {
	return ErrRestart.Because("retry=" + strconv.FormatInt(ms, 10))
}

// TryAgainAfter returns [ErrTryAgainLater] with the hint to connect again after ms milliseconds.
func TryAgainAfter(ms int64) *websocket.CloseError {
	return ErrTryAgainLater.Because("retry=" + strconv.FormatInt(ms, 10))
}

// InboundFullAfter returns [ErrInboundFull] with the hint to connect again after ms milliseconds.
func InboundFullAfter(ms int64) *websocket.CloseError {
	return ErrInboundFull.Because("retry=" + strconv.FormatInt(ms, 10))
}

// PeerClose returns the answer to a close frame of the peer. It has the same code, as RFC 6455 section 5.5.1 asks, and no
// reason. [websocket.CodeNone] stands for a close frame without a code, whose answer has none.
func PeerClose(code ws.StatusCode) *websocket.CloseError {
	return &websocket.CloseError{Code: code, Label: "peer"}
}
