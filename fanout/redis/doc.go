// Package redis hears publications from a Redis: it is the [fanout.Source] of a gateway. It is the only package of the
// gateway that knows go-redis, but for the doctor, which looks at a Redis; the loops know neither.
//
//	Source.Run   one goroutine: dial, PSUBSCRIBE, read; a lost link is noticed within 3 s and dialled again for ever
//	  link       one subscription over one socket, used up with it
//	  addresses  which address of a name is dialled
//	Publish      over connections of its own
//	Embedded     a Redis inside this process, for a first run and for tests
//
// [Source.Publish], [Source.Stats], [Source.String] and the methods of [Embedded] are safe to call from any goroutine. A
// password never appears in a log line, an error or a name. Nothing here knows of channels' short names, frames or loops.
package redis
