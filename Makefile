# One target a check. The tests need what scripts/test-tools lists.
GO ?= go
FUZZTIME ?= 60s
SOAK ?= 10m
N ?= 10000
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
# There is no race detector for 32-bit machines.
RACE := $(if $(filter 386 arm,$(shell $(GO) env GOARCH)),,-race)
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@v1.9.0

.PHONY: build
build:
	$(GO) build -trimpath -o bin/maildird ./cmd/maildird

# A server to try, with its mail in ./data. The program takes make's place, so
# that Ctrl-C and signals are its own.
.PHONY: run
run: build
	@exec bin/maildird demo data

# Everything, with the real clients and Dovecot; installs them when run as root.
# Not from go's cache, which does not know that a test runs the program.
.PHONY: test
test:
	scripts/test-tools
	$(GO) build ./...
	$(GO) test $(RACE) -count=1 -timeout 60m -json ./... | $(GO) run ./scripts/summary

# Also for 32-bit machines, where some types and system calls differ.
.PHONY: check
check:
	@files=$$(gofmt -l .); if [ -n "$$files" ]; then echo "not formatted by gofmt:"; echo "$$files"; exit 1; fi
	$(GO) vet ./...
	GOARCH=386 $(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

# Every fuzz target for FUZZTIME each.
.PHONY: fuzz
fuzz:
	FUZZTIME=$(FUZZTIME) scripts/fuzz

# Beside Dovecot and Postfix, on Maildirs of N messages. Postfix needs root.
.PHONY: bench
bench:
	@scripts/test-tools bench || echo "bench: going on with the programs that are there"
	$(GO) run ./scripts/bench -n $(N)

# The same over the size of the mailbox, up to 100,000 messages; MILLION=1 goes
# on to 1,000,000, which takes about 15 GB of disk. Draws scripts/bench/curves.png.
.PHONY: bench-curves
bench-curves:
	@scripts/test-tools bench || echo "bench: going on with the programs that are there"
	$(GO) run ./scripts/bench -servers maildird,dovecot -curves scripts/bench/curves.png $(if $(MILLION),-million)

# Kills the program 1,000 times, and looks at some 25,000 outcomes of power cuts.
.PHONY: torture
torture:
	$(GO) test ./scripts/torture -timeout 3h -v -run 'TestKill|TestPower' -args -rounds 1000 -outcomes 20

# Known holes in what we build on; asks vuln.go.dev.
.PHONY: vuln
vuln:
	@GO=$(GO) scripts/vuln $(GOVULNCHECK)

# Steady work for SOAK: memory, descriptors and goroutines have to stay flat.
.PHONY: soak
soak:
	MAILDIRD_SOAK=$(SOAK) $(GO) test -count=1 -v -timeout 2h -run TestSoak ./cmd/maildird/load

# Thousands of clients, good and bad, and what each costs.
.PHONY: load
load:
	MAILDIRD_LOAD=full $(GO) test -count=1 -v -timeout 30m -run 'TestLoad|TestMemory|TestManyFiles' ./cmd/maildird/load
