// Package acceptance is the house of what judges a running gateway from outside: it has no code of its own.
//
//	abuse        the threat list, thrown at a gateway while a well-behaved client watches
//	conformance  the cases of the Autobahn suite, against a gateway that echoes
//	proxies      real nginx and HAProxy in front
//	prometheus   a real Prometheus, its rules and the dashboard, on a gateway in trouble
package acceptance
