#!/usr/bin/env bash
# Runs test programs, some at a time, and counts: the last line is "N passed, N failed, N skipped" over all of them.
#   tests/run.sh PROGRAM...        programs that end in .sh or .py are scripts, the others binaries
# A program counts its tests itself, as cmocka does or by a last line of the same form as ours. One that ends with an error and
# reports no failed test (a crash, a leak) counts as one failed test; one that reports nothing at all as well.
# Output appears when something failed or was skipped.
# TEST_WRAP: a command to run binaries under (valgrind and the like). TEST_JOBS: how many programs at a time (default: processors).
set -u
passed=0 failed=0 skipped=0
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

# perform NUMBER PROGRAM: leaves its output, then its exit status and seconds, in files named after the number
perform() {
    local start status
    start=$(date +%s.%N)
    case $2 in
    *.sh) bash "$2" >"$logs/$1.log" 2>&1 </dev/null ;;
    *.py) python3 "$2" >"$logs/$1.log" 2>&1 </dev/null ;;
    *)    ${TEST_WRAP:-} "$2" >"$logs/$1.log" 2>&1 </dev/null ;;
    esac
    status=$?
    echo "$status $(awk -v a="$start" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f", b - a }')" >"$logs/$1.part"
    mv "$logs/$1.part" "$logs/$1.done"
}

# sum_of PASSED LOG: adds the numbers of the lines "[  PASSED  ] 12 test(s)..." that cmocka prints for each group
sum_of() { sed -n "s/^\[ *$1 *\] \([0-9]*\) test(s).*/\1/p" "$2" | awk '{ n += $1 } END { print n + 0 }'; }

# report NUMBER PROGRAM: counts and prints one finished program
report() {
    local log=$logs/$1.log status seconds line p f s
    read -r status seconds <"$logs/$1.done"
    line=$(grep -aE '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$log" | tail -n 1)
    if [ -n "$line" ]; then
        read -r p f s <<<"$(tr -dc '0-9 ' <<<"$line")"
    else
        p=$(sum_of PASSED "$log") f=$(sum_of FAILED "$log") s=$(sum_of SKIPPED "$log")
    fi
    if [ "$f" -eq 0 ] && { [ "$status" -ne 0 ] || [ $((p + s)) -eq 0 ]; }; then f=1; fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    if [ "$f" -ne 0 ]; then grep -av '^\[ *\(RUN\|OK\) *\]' "$log" | tail -n 400; fi
    if [ "$s" -ne 0 ]; then grep -ai 'skipped\?\b' "$log" | grep -aiv 'test(s)\|^[0-9]* passed' | sort -u | head -n 20; fi
    printf '%-32s %4d passed, %d failed, %d skipped  (%s s)\n' "$(basename "$2")" "$p" "$f" "$s" "$seconds"
    if [ "$status" -ne 0 ]; then echo "  ended with status $status; to run it alone: $2"; fi
}

programs=("$@") jobs=${TEST_JOBS:-$(nproc)} next=0
for number in "${!programs[@]}"; do
    perform "$number" "${programs[number]}" &
    while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
    while [ -e "$logs/$next.done" ]; do report "$next" "${programs[next]}"; next=$((next + 1)); done
done
wait
for ((; next < ${#programs[@]}; next++)); do report "$next" "${programs[next]}"; done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
