# What tests/cli*.sh share: running the command, looking at what it left, counting. To be sourced; $1: only tests whose name contains it.
# shellcheck shell=bash
set -u
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
oneshot=${ONESHOT:-$top/build/oneshot}
example=$top/examples/digits.onnx
[ -x "$oneshot" ] || { echo "FAILED: there is no command $oneshot"; echo "0 passed, 1 failed, 0 skipped"; exit 1; }
work=$(mktemp -d)
trap 'chmod -R u+w "$work" 2>/dev/null; rm -rf "$work"' EXIT
passed=0 failed=0 skipped=0 problems=
filter=${1:-}

problem() { problems+="    $*"$'\n'; }
skip() { problems=skip:$*; }
# run CODE ARGUMENT...: runs the command with out and err as its streams; another exit code is a problem.
run() {
    local want=$1 got
    shift
    "$oneshot" "$@" >out 2>err </dev/null
    got=$?
    if [ "$got" -ne "$want" ]; then problem "exit code $got instead of $want: oneshot $*"; problem "$(head -c 500 err)"; fi
}
has() { grep -qF -- "$2" "$1" || problem "'$2' is missing in $1: $(head -c 600 "$1")"; }
lacks() { if grep -qF -- "$2" "$1"; then problem "'$2' stands in $1"; fi; }
empty() { [ ! -s "$1" ] || problem "$1 is not empty: $(head -c 300 "$1")"; }
exists() { [ -e "$1" ] || problem "$1 is missing"; }
missing() { [ ! -e "$1" ] || problem "$1 should not be there"; }
same() { cmp -s "$1" "$2" || problem "$1 and $2 differ"; }
only_files() {                         # the working folder holds these and the streams, nothing else (no temporary files)
    local found
    found=$(find . -mindepth 1 -printf '%P\n' | grep -vxE 'out|err' | sort | tr '\n' ' ')
    [ "$found" = "$(printf '%s\n' "$@" | sort | tr '\n' ' ')" ] || problem "files: $found"
}

# check NAME COMMAND...: one test, in an empty folder of its own with a copy of the example as m.onnx.
check() {
    local name=$1
    shift
    if [[ $name != *"$filter"* ]]; then return; fi
    problems=
    mkdir -p "$work/$name" && cd "$work/$name" || exit 1
    cp "$example" m.onnx
    "$@"
    cd "$work" || exit 1
    case $problems in
    '') passed=$((passed + 1)) ;;
    skip:*) skipped=$((skipped + 1)); echo "skipped: $name: ${problems#skip:}" ;;
    *) failed=$((failed + 1)); printf 'FAILED: %s\n%s' "$name" "$problems" ;;
    esac
}

# The last line; the status is 0 if nothing failed.
finish() {
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ]
}
