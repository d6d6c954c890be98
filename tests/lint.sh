#!/usr/bin/env bash
# The rules of docs/architecture.md that a machine can check. Each rule is one test: it passes silently or prints the lines that break it.
# CC and CLANG name the two compilers. The last line is "N passed, N failed, N skipped".
set -u
cd "$(dirname "$0")/.." || exit 1
CC=${CC:-gcc} CLANG=${CLANG:-clang}
passed=0 failed=0 skipped=0

# A rule holds when the command after its name prints nothing.
rule() {
    local name=$1 found
    shift
    found=$("$@" 2>&1)
    if [ -z "$found" ]; then passed=$((passed + 1)); return; fi
    failed=$((failed + 1))
    printf 'FAILED: %s\n%s\n' "$name" "$(head -n 40 <<<"$found" | sed 's/^/    /')"
}
skip() { skipped=$((skipped + 1)); echo "SKIPPED: $1"; }

all_files=$(git ls-files --cached --others --exclude-standard | while read -r f; do [ -f "$f" ] && echo "$f"; done)
files() { grep -E "$1" <<<"$all_files" | grep -vE "${2:-^$}"; }          # tracked or new files: that match, without those that match
search() { files "$2" "${3:-^$}" | xargs -r -d "\n" grep -HnE -- "$1"; }  # lines with the pattern, in such files
source='\.[ch]$'
product='^(onnx|kernels|engine|recipes)/.*\.(c|h|def)$'

# Layers: docs/architecture.md, "Who may include whom".
foreign() { search '^ *# *include *"' "^($1)/.*$source" "${3:-^$}" | grep -vE "include *\"($2)/"; }
rule "onnx/ includes nothing of ours but onnx/"                      foreign onnx onnx
rule "kernels/ includes nothing of ours but kernels/"                foreign kernels kernels
rule "engine/ includes only onnx/, kernels/, engine/"                foreign engine 'onnx|kernels|engine' '^engine/(cli|api)/'
rule "nobody but engine/cli/ and the tests includes engine/cli/"     search 'include *"engine/cli/' "$source" '^(engine/cli|tests)/'
rule "recipes/ includes only engine/, onnx/, kernels/, recipes/"     foreign recipes 'onnx|kernels|engine|recipes'
rule "includes of ours give the path from the top"                   foreign 'onnx|kernels|engine|recipes|bench|tests' 'onnx|kernels|engine|recipes|bench|tests'
rule "only onnx/arena.c allocates"                                   search '\b(malloc|calloc|realloc|free|strdup|strndup|asprintf) *\(' "$product" '^onnx/arena\.[ch]$'
rule "intrinsics only in kernels/*_<instruction set>.[ch]" search '(immintrin|arm_neon)\.h' "$source" '^kernels/[a-z0-9_]*_(avx2|avx512|avx512vnni|neon)\.[ch]$'
rule "OpenMP only in engine/ and recipes/"                           search '# *pragma +omp|include *<omp\.h>' "$source" '^(engine|recipes|bench|tests)/'
rule "output only in engine/cli/, recipes/report*.c" \
    search '(^|[^_a-z])(v?[fd]?printf|puts|fputs|putchar|perror)\(' '^(onnx|kernels|engine|recipes)/.*\.c$' '^(engine/cli/|recipes/report[a-z_]*\.c$)'
rule "the library never ends the process"                            search '(^|[^_a-z])(exit|_exit|abort|quick_exit)\(' "$product" '^engine/cli/'
rule "no VLA, no alloca"                                             search '\balloca *\(' "$source"

# Size and shape of the code.
long_files() { files "$source|\.sh$|\.py$" | xargs -r -d '\n' wc -l | awk '$2 != "total" && $1 > 600 { print $2 ": " $1 " lines" }'; }
rule "no file over 600 lines"                                        long_files
long_functions() { files '\.c$' | xargs -r -d '\n' awk -f tests/functions.awk; }
rule "functions: at most 60 lines (120 with a switch), 6 parameters" long_functions
headers() { for f in $(files '\.h$'); do grep -qE "^#pragma once|^#ifndef [A-Z_]+_H$" "$f" || echo "$f"; done; }
rule "every header can be included twice"                             headers
rule "no disabled code, no promises"                                 search '^ *# *if 0|\b(TODO|FIXME|XXX|HACK)\b' "$source|\.py$|\.sh$" '^tests/lint\.sh$'

# Form.
text='\.(c|h|def|md|py|sh|1|in|bash|dict)$|^Makefile$|^\.ci/'
rule "no tabs"                                                       search $'\t' "$text" '^Makefile$'
rule "no blanks at the end of a line"                                search '[[:blank:]]+$' "$text"
rule "no carriage returns"                                           search $'\r' "$text"
rule "no line over 170 characters"                                   search '.{171}' "$text" '\.md$'
ends() { for f in $(files "$text"); do [ -s "$f" ] && [ -n "$(tail -c 1 "$f")" ] && echo "$f"; done; }
rule "every file ends with a newline"                                ends
rule "no paths of a machine"                                         search '/(home|root|mnt|work|workspace)/' "$text" '^tests/lint\.sh$'
top() { cut -d/ -f1 <<<"$all_files" | sort -u | grep -vxE '\.ci|\.gitignore|LICENSE|Makefile|README\.md|bench|docs|engine|examples|kernels|onnx|recipes|tests'; }
rule "nothing new at the top level"                                  top
large() { for f in $all_files; do [ "$(stat -c %s "$f")" -gt 1048576 ] && echo "$f: over 1 MiB"; done; }
rule "no file over 1 MiB"                                            large

# Both compilers, all warnings, every file on its own (headers too). -O1: without it, gcc's intrinsics are macros, whose conversions count as ours.
isa_flags() {
    case $1 in
    *_avx2.[ch]) echo -mavx2 -mfma -mf16c ;;
    *_avx512.c) echo -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512vl -mavx512dq ;;
    *_avx512vnni.c) echo -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mavx512vbmi ;;
    esac
}
compile() {                      # compile COMPILER FILE...: syntax and warnings of each file; of a header through a file that only includes it
    local compiler=$1 f
    shift
    for f in "$@"; do
        # shellcheck disable=SC2046,SC2086
        printf '#include "%s"\n' "$f" | eval "$compiler" $CPPFLAGS -Iengine/api -std=gnu2x -O1 -fsyntax-only -fopenmp -Wall -Wextra -Wshadow -Wconversion -Wvla -Werror \
            $(isa_flags "$f") -x c $(case $f in *.h) echo - ;; *) echo "'$f'" ;; esac) 2>&1
    done
}
for compiler in "$CC" "$CLANG"; do
    if command -v "$compiler" >/dev/null; then
        # shellcheck disable=SC2046
        rule "$compiler: no warnings" compile "$compiler" $(files "$source" '_neon\.c$')
    else skip "$compiler is not installed"
    fi
done

# Scripts.
shell_scripts=$(files '\.sh$|^\.ci/')
syntax() { for f in $shell_scripts; do bash -n "$f"; done; }
rule "shell scripts parse"                                           syntax
# shellcheck disable=SC2086
if command -v shellcheck >/dev/null; then rule "shellcheck" shellcheck -s bash $shell_scripts; else skip "shellcheck is not installed"; fi
python() { for f in $(files '\.py$'); do python3 -c 'import ast, sys; ast.parse(open(sys.argv[1]).read(), sys.argv[1])' "$f"; done; }
if command -v python3 >/dev/null; then rule "Python scripts parse" python; else skip "python3 is not installed"; fi

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
