package protocol

// CommandType names what a client asks for.
type CommandType uint8

// The commands of version 1.
const (
	CommandSubscribe CommandType = iota + 1
	CommandUnsubscribe
	CommandPing
	CommandAuth
)

// Command is one decoded message from a client. Its byte slices share the decoder's memory: they are valid until the next
// Decode. To keep one, copy it.
type Command struct {
	Type     CommandType
	ID       []byte   // the raw JSON of "id" (a string or a number), nil if absent; the answer repeats it
	Channels [][]byte // "channel", or the items of "channels"; as the client wrote them, not checked
	Token    []byte   // of auth
}

// MessageType is the "type" of a message to a client.
type MessageType string

// The messages of version 1.
const (
	MessageConnected     MessageType = "connected"
	MessageAuthenticated MessageType = "authenticated"
	MessageSubscribed    MessageType = "subscribed"
	MessageUnsubscribed  MessageType = "unsubscribed"
	MessageNotification  MessageType = "notification"
	MessagePong          MessageType = "pong"
	MessageError         MessageType = "error"
	MessageGap           MessageType = "gap"
)

// Message is one message to a client. The wire has only the fields that are not empty, and always Timestamp and the Data
// of a notification.
type Message struct {
	Type        MessageType
	ID          []byte    // raw JSON, copied from the command
	ClientID    string    // connected
	UserID      string    // connected; a label unless the connection is authenticated
	Channel     string    // subscribed, unsubscribed, notification, error, gap
	Data        string    // notification: the publication's payload, any bytes
	Code        ErrorCode // error
	Text        string    // error: "message", for people
	Reason      GapReason // gap
	Dropped     uint64    // gap: how many publications were dropped, if that is known
	ExpiresAt   int64     // connected, authenticated: Unix milliseconds
	HeartbeatMs int64     // connected, if message heartbeats are on
	Timestamp   int64     // Unix milliseconds
}
