// Package client is the load: very many WebSocket clients in few threads, and what they saw.
//
//	Worker   the clients of one process: bench itself, a child of it, or one on another machine (remote.go)
//	poller   one thread of a worker, which dials and reads its share of them over epoll
//	client   one connection: 64 bytes, and a partial frame's bytes while there is one
//	sequence what one client heard of its channel: lost, doubled, reordered, missed while away
//	heardBy  how many have heard a publication: a worker tells when the last of its clients has
//	lag      since when what a thread reads may have waited for it
//
// Nothing here knows who publishes: a Worker is told what to expect (Outlook) and counts what comes.
package client
