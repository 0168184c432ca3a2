// Package proxies tests scripts/nginx.conf and scripts/haproxy.cfg. It has only tests. They run the real programs with these
// files, in which only ports and paths are replaced, in front of real gateways with a real Redis. They take a minute and a
// half, so they run only if CARILLON_PROXY_TEST is set: make proxy-test.
package proxies
