#!/usr/bin/env bash
# Runs test programs one after the other and counts: the last line is "N passed, N failed, N skipped" over all of them.
#   tests/run.sh PROGRAM...        programs that end in .sh or .py are scripts, the others binaries
# A program counts its tests itself, as cmocka does or by a last line of the same form as ours. One that ends with an error and
# reports no failed test (a crash, a leak) counts as one failed test; one that reports nothing at all as well.
# Output appears when something failed or was skipped.   TEST_WRAP: a command to run binaries under (valgrind and the like).
set -u
passed=0 failed=0 skipped=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Sums the number in front of or behind a cmocka mark: sum_of 'PASSED' adds the lines "[  PASSED  ] 12 test(s)...".
sum_of() { sed -n "s/^\[ *$1 *\] \([0-9]*\) test(s).*/\1/p" "$log" | awk '{ n += $1 } END { print n + 0 }'; }

count() {                        # sets p, f, s from the log of a program that ended with status $1
    local line
    line=$(grep -aE '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$log" | tail -n 1)
    if [ -n "$line" ]; then
        read -r p f s <<<"$(tr -dc '0-9 ' <<<"$line")"
    else
        p=$(sum_of PASSED) f=$(sum_of FAILED) s=$(sum_of SKIPPED)
    fi
    if [ "$f" -eq 0 ] && { [ "$1" -ne 0 ] || [ $((p + s)) -eq 0 ]; }; then f=1; fi
}

for program in "$@"; do
    start=$(date +%s.%N)
    case $program in
    *.sh) bash "$program" >"$log" 2>&1 </dev/null ;;
    *.py) python3 "$program" >"$log" 2>&1 </dev/null ;;
    *)    ${TEST_WRAP:-} "$program" >"$log" 2>&1 </dev/null ;;
    esac
    status=$?
    count $status
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    if [ "$f" -ne 0 ]; then grep -av '^\[ *\(RUN\|OK\) *\]' "$log" | tail -n 400; fi
    if [ "$s" -ne 0 ]; then grep -ai 'skipped\?\b' "$log" | grep -av 'test(s)\|^[0-9]* passed' | sort -u | head -n 20; fi
    printf '%-32s %4d passed, %d failed, %d skipped  (%.1f s)\n' "$(basename "$program")" "$p" "$f" "$s" \
        "$(awk -v a="$start" -v b="$(date +%s.%N)" 'BEGIN { print b - a }')"
    if [ "$status" -ne 0 ]; then echo "  ended with status $status; to run it alone: $program"; fi
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
