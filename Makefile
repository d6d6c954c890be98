# oneshot: `make` builds, `make demo` sets everything up and shows the main job, `make test` runs the tests. All outputs go to build/.
CC      ?= gcc
BUILD   ?= build
VERSION := 0.1.0
PREFIX  ?= /usr/local
WARN    := -Wall -Wextra -Wshadow -Wconversion -Werror
CFLAGS  ?= -O2 -g
override CPPFLAGS += -I. -DONESHOT_VERSION='"$(VERSION)"' -D_GNU_SOURCE
STD     := -std=gnu2x -fPIC -fvisibility=hidden -fno-math-errno -ffp-contract=off
LIBS    := -lcrypto -lz -lm

LIB_SRC := $(wildcard onnx/*.c kernels/*.c engine/*.c engine/api/*.c recipes/*.c)
CLI_SRC := $(wildcard engine/cli/*.c)
# Instruction sets follow from the file name: kernels/x_avx2.c is compiled for AVX2 and nothing else is.
ISA     := $(filter-out x86_64,$(shell $(CC) -dumpmachine | cut -d- -f1))
ifneq ($(ISA),)
LIB_SRC := $(filter-out %_avx2.c %_avx512.c %_avx512vnni.c,$(LIB_SRC))
else
LIB_SRC := $(filter-out %_neon.c,$(LIB_SRC))
endif
FLAGS_avx2       := -mavx2 -mfma -mf16c
FLAGS_avx512     := $(FLAGS_avx2) -mavx512f -mavx512bw -mavx512vl -mavx512dq
FLAGS_avx512vnni := $(FLAGS_avx512) -mavx512vnni -mavx512vbmi
isa_flags = $(FLAGS_$(lastword $(subst _, ,$(basename $(notdir $1)))))

LIB_OBJ := $(LIB_SRC:%.c=$(BUILD)/%.o)
CLI_OBJ := $(CLI_SRC:%.c=$(BUILD)/%.o)
TESTS   := $(patsubst tests/%.c,$(BUILD)/%,$(wildcard tests/test_*.c))
TEST_SUPPORT := $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(wildcard tests/test_*.c tests/fuzz_*.c),$(wildcard tests/*.c)))

.PHONY: all test check clean
.SECONDARY:
all: $(BUILD)/oneshot $(BUILD)/liboneshot.a

$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(STD) $(CFLAGS) $(WARN) $(SANITIZE) -fopenmp $(call isa_flags,$<) -MMD -MP -c $< -o $@

$(BUILD)/liboneshot.a: $(LIB_OBJ)
	@rm -f $@
	$(AR) rcs $@ $^
$(BUILD)/oneshot: $(CLI_OBJ) $(BUILD)/liboneshot.a
	$(CC) $(CFLAGS) $(SANITIZE) -fopenmp $^ $(LDFLAGS) $(LIBS) -o $@
$(BUILD)/test_%: $(BUILD)/tests/test_%.o $(TEST_SUPPORT) $(BUILD)/liboneshot.a
	$(CC) $(CFLAGS) $(SANITIZE) -fopenmp $^ $(LDFLAGS) $(LIBS) -lcmocka -o $@

check: all $(TESTS)
	@set -e; for t in $(TESTS); do echo "== $$t"; $$t; done

clean:
	rm -rf $(BUILD)

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
