// Package admin is the gateway's second listener, for those who run it: metrics, probes, profiles, a way to publish,
// and the demo page with its bell. It owns no state of the gateway; it serves what it is handed, functions that
// return snapshots.
//
//	GET  /metrics              Prometheus                                            open
//	GET  /livez /readyz        probes; ?verbose lists the checks                     open
//	GET  /                     the demo page: a bell, a publish form, live numbers   guarded
//	GET  /ops                  the operator page: connections, rates, loops, slow ones    guarded
//	GET  /info                 what runs here, as JSON                               guarded
//	GET  /stats                numbers for the pages, as JSON                        guarded
//	GET  /loops                each loop's numbers, as JSON                          guarded
//	GET  /connections          ?user= ?channel= ?backlogged ?limit=, as JSON         guarded
//	GET  /log-level            what is logged; POST changes it                       guarded
//	POST /publish/{channel}    the body is the data                                  guarded
//	POST /demo/redis           in a demo: {"pause":ms} cuts the embedded Redis off      guarded
//	GET  /debug/pprof/         profiles                                              guarded
//
// On loopback everything is served. On any other address the guarded routes need the token ([Config].Token); without
// one they are refused. Every guarded request without a token, and every POST, must name a host that is this
// listener, and a POST must not come from another origin: a page of another site can reach a loopback listener
// through the user's own browser.
//
// Whatever clients do here, the gateway goes on: connections, headers, bodies and times are bounded.
package admin
