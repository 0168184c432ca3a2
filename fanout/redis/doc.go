// Package redis hears publications from a Redis: it is the [fanout.Source] of a gateway. It is the only package of the
// gateway that knows go-redis, but for the doctor, which looks at a Redis; the loops know neither.
//
//	Source.Run    one keeper; in mode Sharded the router, and a keeper for each master
//	  keeper      one goroutine: opens the link, reads it, opens the next one when it is lost, for ever
//	    link      one subscription over one socket, used up with it; silence is noticed within 3 s
//	    names     what the link is to hear, if not all: one writer asks for it (modes Dynamic and Sharded)
//	    canary    a message a second that must come back on the link: one goroutine publishes it
//	  router      which master has which slot; channels whose slot moves get a new home
//	  addresses   which address of a name is dialled
//	  sentinels   who the master is: all are asked, the latest failover is believed
//	  cluster     the nodes, and what is lost between them
//	Publish       over connections of its own
//	Embedded      a Redis inside this process, for a first run and for tests
//
// # Names
//
// The interest keeps the names that have changed, not what has happened to them. The writer looks at the interest when it
// acts, and at most one answer is outstanding for a name: what has changed meanwhile is looked at when the answer comes.
// So neither a quick return nor a lost link leaves a name wrong. A command has 512 names at most, of one slot in mode
// Sharded, and the next one is written when the answers to the last but one have been read.
//
// Clients wait until Redis has confirmed their channel. While the link is down, or does not have all its channels yet,
// they do not wait: they are answered, and a gap follows. After a loss the gap is told when all channels of the link are
// confirmed, to those and no others.
//
// # Limits
//
// A user in the URL needs [ACLPattern], [ACLDynamic] or [ACLSharded]. Without the permission for the canary, PING alone
// judges a link, with one warning. On a Cluster in the modes Pattern and Dynamic a publication is passed on between nodes:
// what is lost there is noticed with CLUSTER LINKS (Redis 7, [ACLCluster]), and told to everybody. What Redis has taken
// from a publisher and loses before any subscriber could hear it (a master that dies at that moment) is told too, as the
// link is lost with it.
//
// [Source.Publish], [Source.Stats], [Source.Links], [Source.String] and the methods of [Embedded] are safe to call from any
// goroutine. A password never appears in a log line, an error or a name. Nothing here knows of frames or loops.
package redis
