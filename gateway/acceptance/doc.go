// Package acceptance is the folder of the tests that judge a running gateway from outside. It has no code of its own.
//
//	abuse        attacks from the list of threats, while a client that behaves is watched
//	conformance  the cases of the Autobahn suite, with a gateway that echoes
//	proxies      a real nginx and a real HAProxy in front of gateways
//	prometheus   a real Prometheus with the alert rules and the dashboard, and a gateway in trouble
package acceptance
