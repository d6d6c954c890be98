# oneshot: `make` builds, `make demo` sets everything up and shows the main job, `make test` does the same set-up and runs all tests.
# `make help` lists the targets. All outputs go to build/.
BUILD   ?= build
VERSION := 0.1.0
ABI     := 0
PREFIX  ?= /usr/local
LIBDIR  ?= $(PREFIX)/lib
ifeq ($(origin CC),default)
CC      := gcc
endif
CLANG   ?= clang
WARN    := -Wall -Wextra -Wshadow -Wconversion -Werror
CFLAGS  ?= -O2 -g
override CPPFLAGS += -I. -DONESHOT_VERSION='"$(VERSION)"' -D_GNU_SOURCE
STD     := -std=gnu2x -fPIC -fvisibility=hidden -fno-math-errno -ffp-contract=off
LIBS    := -lcrypto -lz -lm

# What the targets need from Debian; `make demo`, `make test` and the like install what is missing after saying so.
BUILD_PACKAGES   := gcc libc6-dev libssl-dev zlib1g-dev
TEST_PACKAGES    := $(BUILD_PACKAGES) libcmocka-dev libprotobuf-c-dev protobuf-c-compiler pkg-config xz-utils
LINT_PACKAGES    := $(TEST_PACKAGES) clang libomp-dev shellcheck
VENV_PACKAGES    := python3-venv
PYTHON_PACKAGES  := onnx==1.22.0 onnxruntime numpy

# Data that tests use when it is there: real models in MODELS (UNPACK_MODELS DIR, if such a program exists, fills it once), and the node
# test data that the onnx wheel in $(VENV) carries. Without them those tests are skipped, which the last line counts.
VENV          ?= $(BUILD)/venv
MODELS        ?= $(BUILD)/models
UNPACK_MODELS ?= $(wildcard ../shared/tools/unpack-models)
NODE_TESTS    ?= $(firstword $(wildcard $(abspath $(VENV))/lib/python3*/site-packages/onnx/backend/test/data))
TEST_ENV      = BUILD="$(BUILD)" CC="$(CC)" SANITIZE="$(SANITIZE)" ONESHOT="$(abspath $(BUILD)/oneshot)" \
                ONESHOT_MODELS="$(abspath $(MODELS))" ONESHOT_NODE_TESTS="$(NODE_TESTS)" \
                ONESHOT_OPERATORS="$(abspath docs/operators.md)"

LIB_SRC := $(wildcard onnx/*.c kernels/*.c engine/*.c engine/api/*.c recipes/*.c)
CLI_SRC := $(wildcard engine/cli/*.c)
# Instruction sets follow from the file name: kernels/x_avx2.c is compiled for AVX2 and nothing else is.
ISA     := $(filter-out x86_64,$(shell $(CC) -dumpmachine 2>/dev/null | cut -d- -f1))
ifneq ($(ISA),)
LIB_SRC := $(filter-out %_avx2.c %_avx512.c %_avx512vnni.c,$(LIB_SRC))
else
LIB_SRC := $(filter-out %_neon.c,$(LIB_SRC))
endif
FLAGS_avx2       := -mavx2 -mfma -mf16c $(SANITIZE_LANES)
FLAGS_avx512     := $(FLAGS_avx2) -mavx512f -mavx512bw -mavx512vl -mavx512dq
FLAGS_avx512vnni := $(FLAGS_avx512) -mavx512vnni -mavx512vbmi
isa_flags = $(FLAGS_$(lastword $(subst _, ,$(basename $(notdir $1)))))

LIB_OBJ := $(LIB_SRC:%.c=$(BUILD)/%.o)
CLI_OBJ := $(CLI_SRC:%.c=$(BUILD)/%.o)
FUZZ_SRC := $(filter-out tests/fuzz_replay.c,$(wildcard tests/fuzz_*.c))
TEST_SUPPORT := $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(wildcard tests/test_*.c tests/fuzz_*.c),$(wildcard tests/*.c)))
TESTS   := $(patsubst tests/%.c,$(BUILD)/%,$(wildcard tests/test_*.c))
FUZZ_MAIN = $(BUILD)/tests/fuzz_replay.o
# What a fuzz target links where that is not the whole library: kernels take minutes to compile for fuzzing.
FUZZ_LIB_load := $(filter $(BUILD)/onnx/%,$(LIB_OBJ))
FUZZ_LIB_npz := $(FUZZ_LIB_load) $(BUILD)/recipes/npz.o $(BUILD)/recipes/text.o
REPLAYS := $(FUZZ_SRC:tests/%.c=$(BUILD)/%)
SCRIPTS := $(filter-out tests/run.sh tests/lint.sh tests/cli_check.sh,$(wildcard tests/*.sh))
BENCHES := $(patsubst bench/%.c,$(BUILD)/%,$(wildcard bench/bench_*.c))
COMMAND := $(if $(CLI_SRC),$(BUILD)/oneshot)
SHARED  := $(BUILD)/liboneshot.so.$(VERSION)

.PHONY: all help demo test check lint interop san valgrind tsan fuzz bench check-arm venv models packages install uninstall clean
.SECONDARY:
all: $(COMMAND) $(BUILD)/liboneshot.a $(SHARED)

help:
	@echo "all demo test: build; set up, build and show the main job; set up and run all tests"
	@echo "check: the tests without the set-up        T='build/test_x ...' runs only these"
	@echo "lint san valgrind tsan fuzz interop check-arm: rules; sanitizers; FUZZ_SECONDS=$(FUZZ_SECONDS) of fuzzing; against ONNX Runtime; aarch64"
	@echo "bench: measurements, see bench/README.md"
	@echo "install PREFIX=$(PREFIX) DESTDIR=, uninstall, clean"

# Building. V=1 shows the commands.
say = $(if $(V),,@echo "  $1" $@;)
$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,CC  )$(CC) $(CPPFLAGS) $(STD) $(CFLAGS) $(WARN) $(SANITIZE) -fopenmp $(call isa_flags,$<) -MMD -MP -c $< -o $@
$(BUILD)/liboneshot.a: $(LIB_OBJ)
	$(call say,AR  )mkdir -p $(@D) && rm -f $@ && $(AR) rcs $@ $^
$(SHARED): $(LIB_OBJ) $(BUILD)/liboneshot.a
	$(call say,LINK)$(CC) $(CFLAGS) $(SANITIZE) -fopenmp -shared -Wl,-soname,liboneshot.so.$(ABI) $(LIB_OBJ) $(LDFLAGS) $(LIBS) -o $@
LINK = $(call say,LINK)$(CC) $(CFLAGS) $(SANITIZE) -fopenmp $^ $(LDFLAGS)
# A Python program inside the command: each line a C string.
$(BUILD)/%.inc: %.py
	$(call say,GEN )mkdir -p $(@D) && sed 's/[\\"]/\\&/g; s/.*/"&\\n"/' $< > $@
$(BUILD)/engine/cli/bench_rival.o: $(BUILD)/engine/cli/bench_rival.inc
$(BUILD)/engine/cli/bench_rival.o: override CPPFLAGS += -I$(BUILD)
$(BUILD)/oneshot: $(CLI_OBJ) $(LIB_OBJ)
	$(LINK) $(LIBS) -o $@
$(BUILD)/test_%: $(BUILD)/tests/test_%.o $(TEST_SUPPORT) $(BUILD)/liboneshot.a
	$(LINK) $(LIBS) -lcmocka -o $@
# An independent reader of the format, for one test: the schema compiled by protoc-c.
$(BUILD)/onnx.pb-c.h: tests/onnx.proto
	$(call say,GEN )mkdir -p $(@D) && protoc-c --proto_path=tests --c_out=$(@D) onnx.proto
$(BUILD)/onnx.pb-c.o: $(BUILD)/onnx.pb-c.h
	$(call say,CC  )$(CC) $(CFLAGS) $(SANITIZE) -I$(BUILD) -w -c $(@:.o=.c) -o $@
$(BUILD)/test_protobuf: $(BUILD)/onnx.pb-c.o
$(BUILD)/test_protobuf: LIBS += -lprotobuf-c
$(BUILD)/tests/test_protobuf.o: $(BUILD)/onnx.pb-c.h
$(BUILD)/tests/test_protobuf.o: override CPPFLAGS += -I$(BUILD)
.SECONDEXPANSION:
$(BUILD)/fuzz_%: $(BUILD)/tests/fuzz_%.o $(FUZZ_MAIN) $$(or $$(FUZZ_LIB_$$*),$(BUILD)/liboneshot.a)
	$(LINK) $(LIBS) -o $@
$(BUILD)/bench_%: $(BUILD)/bench/bench_%.o $(BUILD)/liboneshot.a
	$(LINK) $(LIBS) -o $@

# Setting up
packages:
	@.ci/packages $(BUILD_PACKAGES)
venv: $(VENV)/ready
$(VENV)/ready:
	@.ci/packages $(VENV_PACKAGES)
	@mkdir -p $(BUILD)
	python3 -m venv $(VENV)
	$(VENV)/bin/pip -q install --retries 1 $(PYTHON_PACKAGES)
	@touch $@
models:
	@if [ -n "$(UNPACK_MODELS)" ] && [ ! -e "$(MODELS)" ]; then "$(UNPACK_MODELS)" "$(MODELS)"; fi

# The two commands of the README
demo: packages
	@$(MAKE) --no-print-directory all
	$(BUILD)/oneshot --model examples/digits.onnx --sparsity 0.5 -o $(BUILD)/digits.sparse.onnx
test:
	@.ci/packages $(TEST_PACKAGES)
	@$(MAKE) --no-print-directory venv || echo "No virtual environment: the tests that need the onnx wheel's node test data are skipped."
	@$(MAKE) --no-print-directory models
	@$(MAKE) --no-print-directory check

# Testing. check is what the variants below repeat in a build folder of their own, without warnings: sanitizers make gcc see false ones.
check: all $(TESTS) $(REPLAYS) $(BENCHES)
	@$(TEST_ENV) tests/run.sh $(if $(T),$(T),$(TESTS) $(REPLAYS) $(SCRIPTS))
lint:
	@.ci/packages $(LINT_PACKAGES)
	@$(MAKE) --no-print-directory $(BUILD)/onnx.pb-c.h $(BUILD)/engine/cli/bench_rival.inc
	@CC="$(CC)" CLANG="$(CLANG)" CPPFLAGS="$(subst ",\",$(CPPFLAGS)) -I$(BUILD)" tests/lint.sh
san:
	@UBSAN_OPTIONS=print_stacktrace=1 $(MAKE) --no-print-directory check BUILD=$(BUILD)/san VENV=$(VENV) MODELS=$(MODELS) WARN=-w \
	    CFLAGS='-O1 -g -fno-omit-frame-pointer' SANITIZE='-fsanitize=address,undefined -fno-sanitize-recover=all'
# OpenMP programs are checked with clang: its runtime tells TSan (through Archer) what synchronises; gcc's does not.
tsan:
	@.ci/packages $(TEST_PACKAGES) clang libclang-rt-dev libomp-dev
	@OMP_TOOL_LIBRARIES=$(lastword $(wildcard /usr/lib/llvm-*/lib/libarcher.so)) TSAN_OPTIONS=ignore_noninstrumented_modules=1 \
	    $(MAKE) --no-print-directory check BUILD=$(BUILD)/tsan VENV=$(VENV) MODELS=$(MODELS) WARN=-w CC=$(CLANG) CFLAGS='-O1 -g' SANITIZE=-fsanitize=thread
# Shorter blocks than its 60 instructions: of some 60 vector ones it cannot hold the translation.
VALGRIND := valgrind -q --vex-guest-max-insns=20 --error-exitcode=99 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite
valgrind: all
	@.ci/packages valgrind
	@TEST_WRAP='$(VALGRIND)' $(MAKE) --no-print-directory check MODELS=$(BUILD)/no-models NODE_TESTS= T='$(TESTS)'
	@printf '#!/bin/sh\nexec $(VALGRIND) "%s" "$$@"\n' '$(abspath $(BUILD)/oneshot)' >$(BUILD)/oneshot-in-valgrind && chmod +x $(BUILD)/oneshot-in-valgrind
	@$(TEST_ENV) ONESHOT="$(abspath $(BUILD)/oneshot-in-valgrind)" tests/run.sh tests/cli_files.sh
# Findings appear as build/fuzz/crash-*, and belong into tests/corpus/ once fixed. Inputs that reach new code collect in build/fuzz/corpus/.
# The fuzzer measures both times by the clock on the wall, stopped or not. clang takes hours over unrolled vector loops with the checks of UBSan; with gcc `make san`
# has them.
FUZZ_SECONDS ?= 1800
FUZZ_TIMEOUT ?= 20
FUZZ_RUNS := $(FUZZ_SRC:tests/fuzz_%.c=run-fuzz-%)
fuzz: $(FUZZ_RUNS)
run-fuzz-%:
	@.ci/packages $(TEST_PACKAGES) clang libclang-rt-dev
	@$(MAKE) --no-print-directory $(BUILD)/fuzz/fuzz_$* BUILD=$(BUILD)/fuzz WARN=-w CC=$(CLANG) FUZZ_MAIN= LDFLAGS='$(LDFLAGS) -fsanitize=fuzzer' \
	    CFLAGS='-O1 -g -fno-omit-frame-pointer' SANITIZE='-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all' \
	    SANITIZE_LANES=-fno-sanitize=undefined
	@mkdir -p $(BUILD)/fuzz/corpus/$*
	@$(MAKE) --no-print-directory $(BUILD)/test_roundtrip && ONESHOT_SEEDS=$(BUILD)/fuzz/corpus/$* $(BUILD)/test_roundtrip >$(BUILD)/fuzz/seeds.log
	$(BUILD)/fuzz/fuzz_$* -max_total_time=$(FUZZ_SECONDS) -timeout=$(FUZZ_TIMEOUT) -rss_limit_mb=4096 -print_final_stats=1 \
	    $(addprefix -dict=,$(wildcard tests/fuzz_$*.dict)) -artifact_prefix=$(BUILD)/fuzz/ $(BUILD)/fuzz/corpus/$* $(wildcard tests/corpus/$*)
interop: venv all
	@$(TEST_ENV) $(VENV)/bin/python tests/interop/run.py
bench: venv models all $(BENCHES)
	@$(VENV)/bin/pip -q install --retries 1 onnxsim || echo "onnxsim cannot be installed: left out"
	@for b in $(BENCHES); do OMP_PROC_BIND=true $$b || exit 1; done
	@$(TEST_ENV) $(VENV)/bin/python bench/bench_command.py
# The same tests for aarch64, cross-compiled and run in an emulator. Needs the libraries of Debian's arm64 packages.
check-arm:
	@.ci/packages gcc-aarch64-linux-gnu qemu-user libgomp1:arm64 libssl-dev:arm64 zlib1g-dev:arm64 libcmocka-dev:arm64 libprotobuf-c-dev:arm64 protobuf-c-compiler
	@TEST_WRAP=qemu-aarch64 $(MAKE) --no-print-directory check BUILD=$(BUILD)/arm VENV=$(VENV) MODELS=$(BUILD)/no-models \
	    CC=aarch64-linux-gnu-gcc AR=aarch64-linux-gnu-ar T='$(TESTS:$(BUILD)/%=$(BUILD)/arm/%)'

# Installing
install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(PREFIX)/include \
	    $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	install -m 755 $(BUILD)/oneshot $(DESTDIR)$(PREFIX)/bin/oneshot
	install -m 644 $(BUILD)/liboneshot.a $(DESTDIR)$(LIBDIR)/liboneshot.a
	install -m 755 $(SHARED) $(DESTDIR)$(LIBDIR)/$(notdir $(SHARED))
	ln -sf $(notdir $(SHARED)) $(DESTDIR)$(LIBDIR)/liboneshot.so.$(ABI)
	ln -sf liboneshot.so.$(ABI) $(DESTDIR)$(LIBDIR)/liboneshot.so
	install -m 644 engine/api/oneshot.h $(DESTDIR)$(PREFIX)/include/oneshot.h
	sed 's|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(LIBDIR)|; s|@VERSION@|$(VERSION)|; s|@LIBS@|$(LIBS)|' engine/api/oneshot.pc.in \
	    > $(DESTDIR)$(LIBDIR)/pkgconfig/oneshot.pc
	install -m 644 docs/oneshot.1 $(DESTDIR)$(PREFIX)/share/man/man1/oneshot.1
	install -m 644 engine/cli/completion.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/oneshot
uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/oneshot $(DESTDIR)$(LIBDIR)/liboneshot.* $(DESTDIR)$(PREFIX)/include/oneshot.h $(DESTDIR)$(LIBDIR)/pkgconfig/oneshot.pc \
	    $(DESTDIR)$(PREFIX)/share/man/man1/oneshot.1 $(DESTDIR)$(PREFIX)/share/bash-completion/completions/oneshot

clean:
	rm -rf $(BUILD)

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
