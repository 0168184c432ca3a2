package wire

import "context"

// Publication is one message for everyone who subscribed to a channel.
type Publication struct {
	Channel string // as Redis carries it
	Payload []byte // valid until Publish returns
}

// Publisher hands publications to whatever the gateway hears them from.
type Publisher interface {
	// Publish sends a batch, in order, in one go. It returns when they are accepted.
	Publish(ctx context.Context, batch []Publication) error
	Close() error
}

// AppendLines appends a batch as lines of "CHANNEL PAYLOAD", which the floor server and programs of -publish exec: read.
func AppendLines(dst []byte, batch []Publication) []byte {
	for i := range batch {
		dst = append(dst, batch[i].Channel...)
		dst = append(dst, ' ')
		dst = append(dst, batch[i].Payload...)
		dst = append(dst, '\n')
	}
	return dst
}
