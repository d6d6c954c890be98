#!/usr/bin/env bash
# Installs into a temporary folder and uses what is there as a stranger would: the command, both libraries through pkg-config, the example program in C.
# BUILD, CC and SANITIZE are those of the build under test. The last line is "N passed, N failed, N skipped".
set -u
cd "$(dirname "$0")/.." || exit 1
BUILD=${BUILD:-build} CC=${CC:-gcc} SANITIZE=${SANITIZE:-}
passed=0 failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root

check() {                        # check NAME COMMAND...: passes when the command succeeds
    local name=$1
    shift
    if "$@" >"$work/log" 2>&1; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED: $name"; sed 's/^/    /' "$work/log"; fi
}
flags() { PKG_CONFIG_SYSROOT_DIR=$root PKG_CONFIG_LIBDIR=$root/usr/lib/pkgconfig pkg-config "$@" oneshot; }
# shellcheck disable=SC2046,SC2086
compile() { "$CC" -std=c11 -Wall -Wextra -Werror $SANITIZE "examples/${2:-prune}.c" -o "$work/$1" $(flags --cflags) "${@:3}"; }
image() { for _ in $(seq 64); do printf '\0\0\200\77'; done; }      # 64 times 1.0
ten_scores() { [ "$(image | LD_LIBRARY_PATH=$root/usr/lib "$work/run" examples/digits.onnx | grep -cE '^-?[0-9.e-]+$')" -eq 10 ]; }
refuses_text() { ! echo short | LD_LIBRARY_PATH=$root/usr/lib "$work/run" examples/digits.onnx; }
prune() { LD_LIBRARY_PATH=$root/usr/lib "$work/$1" examples/digits.onnx "$work/$1.onnx" 0.5; }
exports() {                      # passes when no symbol but ours is visible; sanitizers add their own, clang its locks of critical sections
    ! nm -D --defined-only "$root/usr/lib/liboneshot.so" | awk '$2 ~ /[TDBR]/ && $3 !~ /^(oneshot_|\.gomp_|_init$|_fini$|__(odr_)?[a-z]*san)/' | grep .
}
same_bytes() { prune static && cmp "$work/shared.onnx" "$work/static.onnx"; }
no_files() { [ -z "$(find "$root" ! -type d)" ]; }
completes() { bash -c 'source "$0" && complete -p oneshot' "$root/usr/share/bash-completion/completions/oneshot"; }

check "make install" make --no-print-directory install BUILD="$BUILD" CC="$CC" SANITIZE="$SANITIZE" DESTDIR="$root" PREFIX=/usr
check "the installed command runs" "$root/usr/bin/oneshot" --version
check "the manual page is there" test -s "$root/usr/share/man/man1/oneshot.1"
check "bash completes oneshot" completes
check "the shared library shows only its interface" exports
# shellcheck disable=SC2046
check "the example links with the shared library" compile shared prune $(flags --libs)
check "... and prunes" prune shared
# shellcheck disable=SC2046
check "the example links with the static library" \
    compile static prune "$root/usr/lib/liboneshot.a" $(flags --libs --static | tr ' ' '\n' | grep -v '^-[lL].*oneshot\|^-L')
check "... and prunes to the same bytes" same_bytes
# shellcheck disable=SC2046
check "the example that runs a model links" compile run run $(flags --libs)
check "... and prints ten scores" ten_scores
check "... and says when its input is too short" refuses_text
check "make uninstall" make --no-print-directory uninstall DESTDIR="$root" PREFIX=/usr
check "... leaves nothing" no_files
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
