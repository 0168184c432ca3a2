package protocol

import (
	"errors"
	"strconv"

	"github.com/gobwas/ws"

	"github.com/carillon-ws/carillon/protocol/websocket"
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

// What the gateway ends a connection for, beside what [websocket] lists.
var (
	ErrMessageTimeout  = &websocket.CloseError{Code: ws.StatusPolicyViolation, Reason: "message not finished in time", Label: "message_timeout"}
	ErrSlowConsumer    = &websocket.CloseError{Code: CloseSlowConsumer, Reason: "slow consumer", Label: "slow_consumer"}
	ErrHeartbeatMissed = &websocket.CloseError{Code: CloseHeartbeatMissed, Reason: "heartbeat missed", Label: "heartbeat_missed"}
	ErrInternal        = &websocket.CloseError{Code: ws.StatusInternalServerError, Reason: "internal error", Label: "internal"}
	ErrRestart         = &websocket.CloseError{Code: CloseServiceRestart, Reason: "restart", Label: "restart"}
	ErrTryAgainLater   = &websocket.CloseError{Code: CloseTryAgainLater, Reason: "try again later", Label: "try_again_later"}
	ErrInboundFull     = &websocket.CloseError{Code: CloseTryAgainLater, Reason: "try again later", Label: "inbound_full"}
)

// What an identity, or an operator, ends a connection for. A token that a command brings and that cannot be read is
// [ErrBadToken]: the connection stays.
var (
	ErrTokenRefused = &websocket.CloseError{Code: CloseBadToken, Reason: "bad token", Label: "bad_token"}
	ErrForbidden    = &websocket.CloseError{Code: CloseForbidden, Reason: "forbidden", Label: "forbidden"}
	ErrKicked       = &websocket.CloseError{Code: CloseKicked, Reason: "kicked", Label: "kicked"}
	ErrRateLimit    = &websocket.CloseError{Code: CloseRateLimit, Reason: "rate limit", Label: "rate_limit"}
	ErrTokenExpired = &websocket.CloseError{Code: CloseTokenExpired, Reason: "token expired", Label: "token_expired"}
)

// RestartAfter returns [ErrRestart] with a hint to come back after ms milliseconds.
func RestartAfter(ms int64) *websocket.CloseError {
	return ErrRestart.Because("retry=" + strconv.FormatInt(ms, 10))
}

// TryAgainAfter returns [ErrTryAgainLater] with a hint to come back after ms milliseconds.
func TryAgainAfter(ms int64) *websocket.CloseError {
	return ErrTryAgainLater.Because("retry=" + strconv.FormatInt(ms, 10))
}

// InboundFullAfter returns [ErrInboundFull] with a hint to come back after ms milliseconds.
func InboundFullAfter(ms int64) *websocket.CloseError {
	return ErrInboundFull.Because("retry=" + strconv.FormatInt(ms, 10))
}

// PeerClose is the end that the peer asked for: its code is echoed, as RFC 6455 section 5.5.1 asks, its reason is not.
// A close frame without a code ([websocket.CodeNone]) is echoed without one.
func PeerClose(code ws.StatusCode) *websocket.CloseError {
	return &websocket.CloseError{Code: code, Label: "peer"}
}
