# SPDX-License-Identifier: Apache-2.0
# A thin layer over meson and ninja; `make help` lists the targets.
BUILD ?= build
PREFIX ?= /usr/local
JOBS ?= $(shell nproc)
export BUILD
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c

all: $(BUILD)/build.ninja ## build build/nacre
	@ninja --quiet -j $(JOBS) -C $(BUILD) | sed "/no work to do/d"

$(BUILD)/build.ninja:
	@scripts/install-packages build
	@meson setup $(BUILD) --prefix $(PREFIX) --werror >/dev/null || { tail -n 20 $(BUILD)/meson-logs/meson-log.txt; exit 1; }

run: ## boot Debian's kernel to a shell (piped stdin: runs it as commands)
	@scripts/install-packages build run
	@$(MAKE) --no-print-directory all </dev/null
	@scripts/fetch-guest
	@scripts/make-initramfs guest/cache/initramfs.gz
	@scripts/run $(ARGS)

test: ## run all tests; the last line says "N passed, N failed"
	@scripts/install-packages build run test </dev/null
	@$(MAKE) --no-print-directory all </dev/null
	@tests/run $(TESTS)

differential: all ## compare random code on the host's CPU and in the engines (CASES= SEED= GROUP= ENGINE= CPU=)
	@$(BUILD)/tests/differential/differential $(foreach name,CASES SEED GROUP ENGINE CPU,$(if $($(name)),--$(shell echo $(name) | tr A-Z a-z) $($(name))))

bench: ## measure against native, QEMU and Bochs; table kept under bench/history/
	@scripts/install-packages build run test </dev/null
	@bench/run $(ARGS)

check: check-style check-types check-leaks ## all three checks below
check-style: all ## formatting, SPDX lines, include directions, no global state
	@scripts/check-style
check-types: ## clang and gcc with -Werror, clang-tidy, cppcheck, shellcheck
	@scripts/check-types
check-leaks: ## unit tests under ASan and UBSan, threaded ones under TSan
	@scripts/check-leaks
format: ## put all C files into the repository's format
	@git ls-files "*.c" "*.h" | xargs clang-format -i
fuzz: ## run each fuzz target (SECONDS_EACH=60)
	@scripts/fuzz $(SECONDS_EACH)

install: all ## install under DESTDIR and PREFIX
	@meson configure $(BUILD) -Dprefix=$(PREFIX)
	@DESTDIR="$(DESTDIR)" meson install -C $(BUILD) --quiet

clean: ## remove build folders
	rm -rf build build-*
distclean: clean ## and what was fetched
	rm -rf guest/cache

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/make \1\t\2/p' Makefile | expand -t 20

.PHONY: all run test differential bench check check-style check-types check-leaks format fuzz install clean distclean help
