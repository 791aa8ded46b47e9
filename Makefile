# `make run` is the way in; `make test` is what every change has to pass.

GO     ?= go
BUILD  := .build
STATE  := $(CURDIR)/.state
BINARY := $(BUILD)/portcullis

# How often `make bench` compares the whole server with and without the gate.
ROUNDS ?= 3

# The race detector watches all but SQLite itself, which is C translated to Go
# and guards its own memory. Watching it would take longer than everything else.
RACE := -race -gcflags=modernc.org/sqlite/lib=-race=false -gcflags=modernc.org/libc=-race=false

# How many suites run at once. They wait for disks, clocks and browsers more
# than they compute, on two cores too.
SUITES ?= 4

# All state of a run is kept in one folder of the checkout, which Git ignores.
RUN := XDG_DATA_HOME=$(STATE)/data XDG_CONFIG_HOME=$(STATE)/config

.PHONY: run run-https build test test-faults lint bench fuzz caddy dist clean

run: build
	$(RUN) $(BINARY) run --config Caddyfile.example --adapter caddyfile

run-https: build
	$(RUN) PORTCULLIS_SCHEME=https PORTCULLIS_PORT=8443 $(BINARY) run --config Caddyfile.example --adapter caddyfile

build:
	$(GO) build -o $(BINARY) ./cmd/portcullis

# A binary with the race detector waits a second before it ends, for goroutines that
# are about to report. A tenth of that will do.
test: lint
	./test/install-packages.sh
	GORACE=atexit_sleep_ms=100 $(GO) test $(RACE) -vet=off -parallel $(SUITES) -timeout 60m ./...

# What several nodes on PostgreSQL survive, as a table: the fault, what was seen, and
# what was lost of the writes that had been confirmed.
test-faults:
	@mkdir -p $(BUILD)
	@$(GO) test ./test -run '^TestSeveralNodes$$' -count=1 -v >$(BUILD)/faults.log 2>&1; status=$$?; \
		sed -n 's/^ *nodes_test.go:[0-9]*: |/|/p' $(BUILD)/faults.log; \
		test $$status -eq 0 || tail -n 50 $(BUILD)/faults.log; exit $$status

lint:
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "not gofmt clean: $$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

# The whole server is measured last and on its own; see docs/performance.md.
bench:
	$(GO) test -run '^$$' -bench . -benchmem $$($(GO) list ./... | grep -v '/test$$')
	$(GO) test -run '^$$' -bench . -benchtime $(ROUNDS)x -timeout 30m ./test

# Each fuzz target for a minute, one after the other, then the long form of tests that
# try moments at random.
fuzz:
	./test/fuzz.sh 60s
	PORTCULLIS_LONG=1 $(GO) test -run '^TestX01X02Killed$$' -count=1 -timeout 60m ./test
	$(GO) test ./authflow -run 'PhonesAtOnce|CancelRaces|NumbersAreGuessed|ApprovalsAreReplayed' -count=1 -timeout 60m -rounds 1000

# Caddy from xcaddy.json, as users build it.
caddy:
	$(GO) run ./internal/buildcaddy $(BUILD)/caddy

# What a release consists of: make dist VERSION=v1.2.3 [TARGETS=linux-amd64] [KEY=FILE].
dist:
	cd tools && $(GO) build -o ../$(BUILD)/release ./release
	$(BUILD)/release --version "$(VERSION)" --output $(BUILD)/dist --only "$(TARGETS)" --key "$(KEY)"

clean:
	rm -rf $(BUILD)
