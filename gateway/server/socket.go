package server

import (
	"math"
	"syscall"
	"time"
	"unsafe"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"
)

// send writes to a socket without ever blocking and without telling the scheduler, which costs a loop more than
// the call itself when thousands follow each other. It is safe only because MSG_DONTWAIT cannot block.
// MSG_NOSIGNAL: a peer that is gone gives EPIPE, not a signal. p must not be empty.
func send(fd int32, p []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))),
		uintptr(len(p)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// closeWrite ends our side of the stream: the peer reads the end after the last byte. It is how a close frame
// survives: a plain close(2) with unread input would send a reset that overtakes it.
func closeWrite(fd int32) { _ = unix.Shutdown(int(fd), unix.SHUT_WR) }

const (
	notSentLow  = 16 << 10         // TCP_NOTSENT_LOWAT in bytes: what waits beyond it waits in our backlog
	userTimeout = 30 * time.Second // TCP_USER_TIMEOUT at least: a peer that acknowledges nothing for so long is gone
)

// setListenerOptions bounds what the kernel keeps for one connection. Accepted sockets inherit it. Without it a
// client that does not read takes up to tcp_wmem's maximum, 4 MiB, of kernel memory.
func setListenerOptions(eng gnet.Engine, cfg *Config) error {
	fd, err := eng.Dup()
	if err != nil {
		return err
	}
	defer unix.Close(fd) //nolint:errcheck // a copy of the listener's descriptor: nothing is lost with it
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, cfg.SendBuffer); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, notSentLow); err != nil {
		return err
	}
	// The kernel also ends a connection whose window stays closed for so long, whatever it acknowledges: a slow
	// consumer is not to go before its time.
	patience := max(userTimeout, cfg.MaxBacklogAge)
	patience = min(patience, math.MaxInt32*time.Millisecond) // the kernel counts milliseconds in 32 bits: 24.8 days
	return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(patience.Milliseconds()))
}
