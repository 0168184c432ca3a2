// Package admin is the gateway's second listener, for those who operate it: metrics, probes, profiles, publishing, the
// operator page and the demo page. It has no state of the gateway. [Config] has functions that return snapshots of it.
//
//	GET  /metrics              Prometheus                                            open
//	GET  /livez /readyz        probes; ?verbose lists the checks                     open
//	GET  /                     the demo page: a bell, a form to publish, numbers     guarded
//	GET  /ops                  the operator page: connections, rates, loops, Redis   guarded
//	GET  /info                 version, addresses, Redis, as JSON                    guarded
//	GET  /stats                numbers for the pages, as JSON                        guarded
//	GET  /loops                each loop's numbers, as JSON                          guarded
//	GET  /connections          ?user= ?channel= ?backlogged ?limit=, as JSON         guarded
//	GET  /log-level            the log level; POST changes it                        guarded
//	POST /disconnect           closes connections of a user, or of a client id       guarded
//	POST /publish/{channel}    the body is the data                                  guarded
//	POST /demo/redis           only in a demo: {"pause":ms} stops the embedded Redis  guarded
//	GET  /debug/pprof/         profiles                                              guarded
//
// With a token ([Config].Token) each request to a guarded route needs it. Without one, guarded routes are served on
// loopback and refused on any other address. Without a token, and for every POST, the Host header must name this
// listener; a POST must not come from a page of another origin. The reason is that pages of other sites can reach a
// loopback listener through the user's own browser.
//
// Sockets, requests, headers, bodies and times are bounded, so that clients of this listener cannot harm the gateway.
package admin
