// Package proxies proves scripts/nginx.conf and scripts/haproxy.cfg: it has only tests, which run the real programs
// with those very files, ports and paths replaced, in front of real gateways on a real Redis. They take a minute and a
// half, so they run when CARILLON_PROXY_TEST is set: make proxy-test.
package proxies
