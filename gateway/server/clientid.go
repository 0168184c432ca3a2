package server

import (
	"crypto/rand"
	"encoding/binary"

	"github.com/google/uuid"
)

// clientIDs turns connection keys into client ids, which look like random UUIDs (version 4), as the wire has them.
// They are derived, not stored: 36 bytes a connection would be a tenth of its memory. Safe to call from any
// goroutine.
type clientIDs struct {
	high uint64 // of this process
	mask uint64
}

// A multiplication by an odd number is a permutation of 64 bits, so keys and ids stay one to one.
const idSpread = 0x9e3779b97f4a7c15

func newClientIDs() clientIDs {
	var b [16]byte
	rand.Read(b[:])
	return clientIDs{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// The inverse of idSpread modulo 2^64 (Newton's iteration; TestClientIDs checks it).
const idGather = 0xf1de83e19937733d

// key returns the key of a client id; ok is false if the id is none of this process's.
func (ids clientIDs) key(id string) (key uint64, ok bool) {
	u, err := uuid.Parse(id)
	if err != nil {
		return 0, false
	}
	key = (binary.BigEndian.Uint64(u[8:]) ^ ids.mask) * idGather & (mostKeys - 1)
	return key, ids.of(key) == u.String()
}

// mostKeys is one more than the highest key that makes an id: the two highest bits are the UUID's variant.
const mostKeys = 1 << 62

// of returns the client id of a key, which must be below mostKeys.
func (ids clientIDs) of(key uint64) string {
	var u uuid.UUID
	binary.BigEndian.PutUint64(u[:8], ids.high)
	mixed := (key*idSpread ^ ids.mask) & (mostKeys - 1)
	binary.BigEndian.PutUint64(u[8:], mixed)
	u[6] = u[6]&0x0f | 0x40 // version 4, RFC 9562 section 5.4
	u[8] = u[8]&0x3f | 0x80 // variant
	return u.String()
}
