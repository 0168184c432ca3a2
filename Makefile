# Every target is one to three lines; what is longer is a script. `make` alone prints this list.
GO        ?= go
GOLANGCI  := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
BENCHSTAT := golang.org/x/perf/cmd/benchstat@latest
FUZZTIME  ?= 60s
CONNECTIONS ?= 1000000
PACKAGES  := ./...

.DEFAULT_GOAL := help
.PHONY: help build run setup test race client uplot client-test proxy-test redis-test observe-test lint fuzz abuse conformance bench bench-10k bench-100k bench-1m bench-article bench-floor bench-tables doctor tune ci clean

help: ## print this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

build: ## build bin/gateway and bin/bench
	$(GO) build -trimpath -o bin/ ./gateway ./bench

run: build ## run the demo: gateway, embedded Redis, a page with a bell
	./bin/gateway demo

setup: ## install what the tests need (redis-server, chromium, npm packages), if it is missing
	./scripts/setup-tests.sh

test: setup ## run all tests, race detector and loop ownership check on, the client's included
	$(GO) test -race -tags loopcheck $(PACKAGES)
	$(MAKE) client-test

race: setup ## run all tests three times over, in shuffled order
	$(GO) test -race -tags loopcheck -count 3 -shuffle on $(PACKAGES)

observe-test: build ## a real Prometheus on a gateway in trouble: rules, dashboard, alerts that fire and resolve
	./scripts/setup-observe.sh
	CARILLON_OBSERVE_TEST=1 $(GO) test -count 1 -timeout 3m -v ./gateway/acceptance/prometheus

client: setup ## build the TypeScript client, and the demo page that is made of it
	cd protocol/client && npm run build && npm run build:page

uplot: setup ## copy uPlot into bench/report/uplot, of the version that package.json there pins
	cd bench/report/uplot && cp node_modules/uplot/dist/uPlot.iife.min.js node_modules/uplot/dist/uPlot.min.css node_modules/uplot/LICENSE .

client-test: setup ## the client's tests: units, types, sizes, the real gateway, a real browser
	cd protocol/client && npm test && npm run test:page && npm run test:contract && npm run test:e2e

proxy-test: ## 5,000 clients through real nginx and HAProxy, TLS, two gateways; 90 s
	./scripts/setup-proxies.sh
	CARILLON_PROXY_TEST=1 $(GO) test -count 1 -v ./gateway/acceptance/proxies

doctor: ## does this host hold CONNECTIONS (1000000)? what does it lack?
	$(GO) run ./gateway doctor -connections $(CONNECTIONS)

tune: ## set the kernel parameters for CONNECTIONS; scripts/tune-host.sh --undo puts the old ones back
	./scripts/tune-host.sh --apply --connections $(CONNECTIONS)

lint: ## run golangci-lint, shellcheck on the scripts, systemd-analyze on the unit
	$(GO) run $(GOLANGCI) run $(PACKAGES)
	./scripts/lint-scripts.sh
	./scripts/check-service.sh

fuzz: ## run every fuzz target for FUZZTIME (60s)
	./scripts/fuzz.sh $(FUZZTIME)

abuse: setup ## throw the threat list at a running gateway, at full scale (minutes)
	$(GO) -C gateway/acceptance/abuse test -timeout 30m -v -full

redis-test: setup ## hear Redis through every fault: kill -9, failovers, slots that move, 700,000 names; 3 min
	$(GO) test -race -tags loopcheck -count 1 -timeout 15m -v ./fanout/redis -full

conformance: ## run the cases of the Autobahn test suite, all sizes, against a gateway that echoes
	$(GO) -C gateway/acceptance/conformance test -timeout 10m -full

bench: ## run the benchmarks of every stage
	$(GO) test -run '^$$' -bench . -benchmem $(PACKAGES)

bench-10k: build ## 10,000 clients against a gateway of their own: all phases, and a page, bin/bench-10k.html
	./bin/bench -connections 10000 -phases settle,steady,burst,churn,storm,drain -duration 8s -name "10,000 clients" -json bin/bench-10k.json -html bin/bench-10k.html

bench-100k: build ## 100,000 clients on 6 gateways, from 6 processes; a page, bin/bench-100k.html
	./bin/bench -connections 100000 -fleet 6 -procs 6 -gateway-args "-ping-interval 10m" -phases settle,burst,steady,drain -rate 0.25 -duration 20s -name "100,000 clients" -json bin/bench-100k.json -html bin/bench-100k.html

bench-1m: build ## a million clients on 53 gateways, from 53 processes: quiet machine, 14 GiB free; bin/bench-1m.html
	./bin/bench -connections 1000000 -fleet 53 -procs 53 -gateway-args "-ping-interval 10m" -phases settle,burst -bursts 1 -progress plain -name "1,000,000 clients" -json bin/bench-1m.json -html bin/bench-1m.html

bench-article: build ## the article's own load test: 10,000 clients of Node's ws, which must all come up and hear
	./scripts/bench-article.sh

bench-floor: build ## the gateway beside a server that does nothing but write: the ratios that must hold
	./bin/bench -vs-floor -connections 10000

bench-tables: build ## how cost grows with connections, channels and loops: the tables of bench/RESULTS.md
	./scripts/bench-tables.sh

ci: ## what CI runs: lint and test
	$(MAKE) lint
	$(MAKE) test

clean: ## remove what build made
	rm -rf bin
