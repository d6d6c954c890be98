#!/usr/bin/env bash
# The command from the outside: exit codes, messages, files, what stands on which stream. The last line is "N passed, N failed, N skipped".
#   tests/cli.sh [WORD]        only tests whose name contains the word
# ONESHOT: the command (build/oneshot).
# shellcheck source=tests/cli_check.sh
. "$(dirname "$0")/cli_check.sh"

main_job() {
    run 0 --model m.onnx --sparsity 0.8
    only_files m.onnx m.oneshot.onnx m.oneshot.report.json
    empty err
    has out "m.onnx -> m.oneshot.onnx"
    has out "80.0 %"
    has out "first weighted layer"
    has out "last weighted layer"
    has out "prunable weights"
    has out "all parameters"
    has out "multiply-adds"
    has out "with gzip"
    has out "Accuracy was not measured"
    has out "From 40 % on"
    has m.oneshot.report.json '"schema_version": 1'
    same m.onnx "$example"
    run 0 inspect m.oneshot.onnx
    has out "oneshot.sparsity: 0.8"
    has out "oneshot.method: magnitude"
    has out "oneshot.source_sha256: $(sha256sum m.onnx | cut -d' ' -f1)"
    has out "oneshot.source_producer: "
    run 0 --model m.oneshot.onnx --sparsity 0.9 -o again.onnx
    run 9 diff m.onnx again.onnx
}
quiet_note() {
    run 0 --model m.onnx --sparsity 0.3
    lacks out "From 40 % on"
    has out "Accuracy was not measured"
}
default_names() {
    mkdir sub && cp m.onnx "sub/a model" && cp m.onnx sub/.onnx
    run 0 --model "sub/a model" --sparsity 0.5 -q
    exists "sub/a model.oneshot.onnx"
    exists "sub/a model.oneshot.report.json"
    run 0 --model sub/.onnx --sparsity 0.5 -q
    exists sub/.onnx.oneshot.onnx
    run 0 --model m.onnx --sparsity 0.5 -q -o other.bin
    exists other.bin
    exists other.bin.report.json
    rm -r sub other.bin*
    run 0 --model=m.onnx --sparsity=50% --output=x.onnx --quiet
    only_files m.onnx x.onnx x.report.json
}
dry_run() {
    chmod a-w .
    run 0 --model m.onnx --sparsity 0.8 --dry-run
    chmod u+w .
    only_files m.onnx
    has out "nothing is written"
    has out "80.0 %"
    has out "Totals as planned"
    run 0 --model m.onnx --sparsity 0.8 --dry-run --json -
    has out '"output": null'
    has out '"dry_run": true'
    only_files m.onnx
}
json() {
    run 0 --model m.onnx --sparsity 0.8 --json -
    cp out printed
    same out m.oneshot.report.json
    run 0 --model m.onnx --sparsity 0.8 --json r.json
    has out "Totals"
    exists r.json
    run 0 inspect m.onnx --json i.json -q
    empty out
    run 9 diff m.onnx m.oneshot.onnx --json d.json -q
    empty out
    run 0 inspect m.onnx --json -
    command -v python3 >/dev/null || { skip "python3 is not there to read JSON"; return; }
    python3 - printed r.json i.json d.json out m.onnx m.oneshot.onnx >python.out 2>&1 <<'PYTHON' || problem "$(cat python.out)"
import json, os, sys
printed, written, inspected, different, other = (json.load(open(f)) for f in sys.argv[1:6])
assert inspected == other
t = printed["totals"]
assert t["prunable_weights"] == sum(l["weights"] for l in printed["layers"] if l["pruned"])
assert t["prunable_zeros_after"] == sum(l["zeros_after"] for l in printed["layers"] if l["pruned"])
assert abs(t["sparsity_prunable"] - 0.8) < 1e-3, t
assert printed["source"]["bytes"] == os.path.getsize(sys.argv[6]) and printed["output"]["bytes"] == os.path.getsize(sys.argv[7])
assert printed["source"]["gzip_bytes"] > printed["output"]["gzip_bytes"] and not printed["output"]["gzip_bytes_estimated"]
assert t["macs_after"] < t["macs_before"] <= t["macs_dense"] == inspected["model"]["macs"]
assert abs(sum(l["macs"] for l in printed["layers"]) - t["macs_dense"]) <= t["macs_dense"] * 0.01
assert printed["accuracy"] == {"measured": False}
assert {"load", "survey", "plan", "prune", "save", "measure"} == set(printed["seconds"])
changed = {d["name"]: d for d in different["tensors"]}
for l in printed["layers"]:
    if l["pruned"]:
        assert changed[l["weight"]]["newly_zero"] == changed[l["weight"]]["changed"] == l["zeros_after"] - l["zeros_before"], l
    else:
        assert l["weight"] not in changed and l["reason"], l
assert len(changed) == t["layers_pruned"] and not different["nodes"] and not different["equal"]
assert [l["prunable"] for l in inspected["layers"]] == [l["pruned"] for l in printed["layers"]]
PYTHON
}
streams() {
    run 0 --model m.onnx --sparsity 0.8
    if grep -q $'\033' out err || grep -q $'\r' out err; then problem "escapes in a pipe"; fi
    run 0 --model m.onnx --sparsity 0.8 --quiet
    empty out
    empty err
    run 0 --model m.onnx --sparsity 0.8 --verbose
    has out "peak memory"
    for command in "--model m.onnx --sparsity 0.8" "inspect m.onnx" "inspect m.onnx --json -" "diff m.onnx m.oneshot.onnx" "convert m.onnx c.onnx" \
        "help bench" --help; do
        # shellcheck disable=SC2086
        "$oneshot" $command >/dev/full 2>err
        [ $? -eq 8 ] || problem "a full standard output is no error: $command"
        has err "standard output"
    done
    "$oneshot" --model m.onnx --sparsity 0.8 -o closed.onnx >&- 2>&-
    run 0 inspect closed.onnx
}
colors() {
    script -qec true /dev/null >tty.out 2>&1 </dev/null || { skip "script(1) cannot make a terminal here"; return; }
    # sh -c, since script(1) hands its command to a shell
    TERM=xterm script -qec "'$oneshot' --model nothing.onnx --sparsity 0.8" /dev/null >tty.out </dev/null
    grep -q $'\033\[' tty.out || problem "no colour on a terminal"
    TERM=xterm NO_COLOR=1 script -qec "'$oneshot' --model nothing.onnx --sparsity 0.8" /dev/null >tty.out </dev/null
    if grep -q $'\033\[' tty.out; then problem "colour although NO_COLOR is set"; fi
    script -qec "stty cols 70; '$oneshot' --model m.onnx --sparsity 0.8" /dev/null >tty.out </dev/null
    awk '/^layer/, /^Totals/' tty.out | tr -d '\r' | awk 'length > 70' | grep -q . && problem "the table is wider than the terminal"
}
usage() {
    run 2
    has err "Usage: oneshot --model"
    run 2 --model m.onnx
    has err "--sparsity is missing"
    run 2 --sparsity 0.8
    has err "--model is missing"
    run 2 --model m.onnx --sparsity 80
    has err "80%"
    run 2 --model m.onnx --sparsity 1
    run 2 --model m.onnx --sparsity -0.1
    run 2 --model m.onnx --sparsity nan
    run 2 --model m.onnx --sparsity 0.5x
    run 2 --model m.onnx --sparsity 0x0.8
    run 2 --model m.onnx --sparsity 0.5 -qv
    has err "-q -v"
    run 2 --model m.onnx --sparsity 0.8 --sparsety 1
    has err "did you mean --sparsity?"
    run 2 --model m.onnx --sparsity 0.8 --scope everywhere
    has err "uniform|global|erk|lamp"
    run 2 --model m.onnx --sparsity 0.8 --pattern 5:4
    run 2 --model m.onnx --sparsity 0.8 --layer nothing=0.5
    has err "nothing"
    run 2 --model m.onnx --sparsity 0.8 --layer x
    run 2 --model m.onnx --sparsity 0.8 --layer x=7
    run 2 --model m.onnx --sparsity 0.8 --include 'nosuch*'
    run 2 --model m.onnx --sparsity 0.8 --shape nosuch=3
    has err "nosuch"
    run 2 --model m.onnx --sparsity 0.8 --threads 0
    run 2 --model m.onnx --sparsity 0.8 --quiet=yes
    run 2 --model m.onnx --sparsity 0.8 --model other.onnx
    run 2 --model m.onnx --sparsity 0.8 extra
    run 2 --model m.onnx --sparsity 0.8 -o -
    run 2 --model m.onnx --sparsity 0.8 --quiet --verbose
    run 2 --model m.onnx --sparsity
    run 2 m.onnx
    has err "--model m.onnx"
    run 2 --model m.onnx --sparsity 0.8 --json -q
    has err "looks like an option"
    run 2 prune m.onnx
    has err "oneshot --model model.onnx"
    run 2 rum --model m.onnx
    has err "run"
    run 2 inspct m.onnx
    has err "inspect"
    run 2 convert m.onnx
    run 2 convert m.onnx a.onnx b.onnx
    run 2 convert m.onnx a.onnx --inline --external-data
    run 2 diff m.onnx
    run 2 help nothing
    only_files m.onnx
}
help_and_version() {
    local c
    run 0 --version
    grep -qxE 'oneshot [0-9]+\.[0-9]+\.[0-9]+' out || problem "version: $(cat out)"
    for c in sparsify inspect diff convert bench; do
        run 0 "$c" --help
        [ "$(wc -l <out)" -le 24 ] || problem "$c --help has $(wc -l <out) lines"
        [ "$(wc -L <out)" -le 80 ] || problem "$c --help has $(wc -L <out) columns"
        has out "Examples:"
        run 0 help "$c"
        [ "$(wc -L <out)" -le 80 ] || problem "help $c has $(wc -L <out) columns"
    done
    run 0 --help
    has out "Measured: at equal accuracy unstructured zeros"
    run 0 help
    has out "oneshot inspect MODEL"
}
manual() {
    local c option page
    page=$(sed 's/\\-/-/g; s/\\f.//g' "$top/docs/oneshot.1")
    "$oneshot" complete >commands
    [ "$(wc -l <commands)" -ge 4 ] || problem "commands: $(cat commands)"
    while read -r c; do
        "$oneshot" complete "$c" | cut -f 1 >options
        [ -s options ] || problem "$c has no options"
        if [ "$c" != sparsify ] && ! grep -q "SS oneshot $c" <<<"$page"; then problem "no section about $c"; fi
        while read -r option; do
            grep -qE -- "$option([^a-z-]|\$)" <<<"$page" || problem "$c $option is not in the manual page"
        done <options
    done <commands
    # and the other way round: what the page names exists
    grep -oE -- '--[a-z][a-z-]+' <<<"$page" | sort -u | while read -r option; do
        while read -r c; do "$oneshot" complete "$c"; done <commands | cut -f 1 | grep -qx -- "$option" || echo "$option"
    done >unknown
    empty unknown
    has "$top/docs/oneshot.1" "oneshot $("$oneshot" --version | cut -d' ' -f2)"
}
# What this CPU costs is kept where it is looked for, and a plan then says what it chose without trying.
tuning() {
    export XDG_CACHE_HOME=$PWD/cache
    run 0 tune --dry-run
    has out "winograd-4"
    [ ! -e cache ] || problem "--dry-run wrote something"
    run 0 tune --verbose
    has out "cache/oneshot/cost.txt"
    has out "% zeros"
    has cache/oneshot/cost.txt "tokens-sparse"
    run 0 bench --model "$top/examples/digits.onnx" --seconds 0.1 --warmup 0 --per-layer
    has out "times as long"
    run 8 tune -o /proc/no/cost.txt
    unset XDG_CACHE_HOME
}
# complete_words WORD...: what the completion offers for the last word
complete_words() {
    COMP_WORDS=("$oneshot" "$@") COMP_CWORD=$# bash -c '
        source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); compopt() { :; }; _oneshot; printf "%s\n" "${COMPREPLY[@]}"' _ \
        "$top/engine/cli/completion.bash" "$oneshot" "$@" >out
}
completion() {
    complete_words ""
    has out inspect
    has out help
    complete_words --sp
    has out --sparsity
    complete_words --model m.onnx --scope ""
    has out lamp
    complete_words --model m.o
    has out m.onnx
    complete_words convert a b --form
    has out --format
    lacks out --scope
    complete_words convert a b --format s
    has out sparse
    complete_words help c
    has out convert
}
unreadable() {
    run 3 --model nothing.onnx --sparsity 0.8
    has err "nothing.onnx"
    head -c 5000 m.onnx >cut.onnx
    run 3 --model cut.onnx --sparsity 0.8
    run 3 inspect cut.onnx
    run 3 diff m.onnx cut.onnx
    run 3 convert cut.onnx out.onnx
    : >empty.onnx
    run 3 --model empty.onnx --sparsity 0.8
    echo "hello world" >text.onnx
    run 3 --model text.onnx --sparsity 0.8
    missing out.onnx
    only_files m.onnx cut.onnx empty.onnx text.onnx
}
other_formats() {
    printf 'PK\003\004' >a.pt
    { printf 'PK\003\004\024\0\0\0\010\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\020\0\0\0archive/data.pkl'; head -c 100 /dev/zero; } >"it's.pt"
    run 4 --model "it's.pt" --sparsity 0.8
    has err "torch.onnx.export"
    has err "torch.load(\"it's.pt\")"
    has err "model='it'\\''s.pt'"
    gzip -c m.onnx >m.onnx.gz
    run 4 inspect m.onnx.gz
    has err "gzip -d"
    printf 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n' >pointer.onnx
    run 4 inspect pointer.onnx
    has err "git lfs pull"
    printf '<!DOCTYPE html>\n<html>' >page.onnx
    run 4 diff m.onnx page.onnx
    has err "web page"
    printf '\200\002}q\001(X\006\000\000\000weightq\002us.' >pickle.bin
    run 4 --model pickle.bin --sparsity 0.8
    has err "torch.onnx.export"
    printf '\040\0\0\0\0\0\0\0{"w":{"dtype":"F32","shape":[0]}}' >w.safetensors
    run 4 --model w.safetensors --sparsity 0.8
    has err "optimum-cli export onnx"
    printf '\034\0\0\0TFL3xxxxxxxxxxxxxxxxxxxx' >m.tflite
    run 4 --model m.tflite --sparsity 0.8
    has err "tf2onnx.convert --tflite m.tflite"
    printf '\211HDF\r\n\032\nxxxxxxxxxxxxxxxxxxxx' >m.h5
    run 4 --model m.h5 --sparsity 0.8
    has err "onnx"
    mkdir one none
    cp m.onnx one/x.onnx
    "$oneshot" --model one --sparsity 0.8 2>err
    has err "--model one/x.onnx"
    "$oneshot" --model none --sparsity 0.8 2>err
    has err "no ONNX model"
    touch none/model.safetensors
    "$oneshot" --model none --sparsity 0.8 2>err
    has err "optimum-cli"
}
converting() {
    run 0 convert m.onnx copy.onnx
    same m.onnx copy.onnx
    run 0 convert m.onnx ext.onnx --external-data
    exists ext.onnx.data
    run 0 diff m.onnx ext.onnx
    has out "stored in another form"
    run 0 convert ext.onnx in.onnx --inline
    run 0 diff m.onnx in.onnx
    run 0 --model m.onnx --sparsity 0.9 -o s.onnx -q
    run 0 convert s.onnx small.onnx --format sparse
    [ "$(stat -c %s small.onnx)" -lt "$(stat -c %s s.onnx)" ] || problem "the sparse form is not smaller"
    run 0 convert small.onnx back.onnx --format dense
    run 0 diff s.onnx back.onnx
    run 0 --model ext.onnx --sparsity 0.8 -o p.onnx
    exists p.onnx.data
    run 0 --model m.onnx --sparsity 0.8 -o q.onnx -q
    run 0 convert p.onnx r.onnx --inline
    run 9 diff q.onnx r.onnx
    lacks out "newly zero"
}
same_for_threads() {
    run 0 --model m.onnx --sparsity 0.7 --threads 1 -o one.onnx -q
    run 0 --model m.onnx --sparsity 0.7 --threads 4 -o four.onnx -q
    same one.onnx four.onnx
}
choices() {
    run 0 --model m.onnx --sparsity 0.5 --pattern 2:4 -q
    run 0 --model m.onnx --pattern 2:4
    has out "to 50.0 %"
    run 0 --model m.onnx --sparsity 0.5 --pattern 4x1 --regroup -q
    run 0 --model m.onnx --sparsity 0.5 --scope global --include '*'
    lacks out "first weighted layer"
    run 0 --model m.onnx --sparsity 0.5 --exclude '*'
    has err "no layer was pruned"
    run 0 --model m.onnx --sparsity 0 -q
    empty err
    run 0 --model m.onnx --sparsity 0.999
    has err "fewer zeros than asked"
    has out "fewer zeros than asked"
    run 0 --model m.onnx --sparsity 0.5 --shape "$(
        "$oneshot" inspect m.onnx --json - | sed -n 's/.*"name": "\([^"]*\)", "size": .*/\1/p' | head -n 1)=7"
    has out "= 7"
    lacks out "assumed"
}
differences() {
    run 0 diff m.onnx m.onnx
    has out "no differences"
    run 0 --model m.onnx --sparsity 0.8 -q
    run 9 diff m.onnx m.oneshot.onnx
    has out "newly zero"
    has out "oneshot.version: (none) ->"
    run 9 diff -q m.onnx m.oneshot.onnx
    empty out
}
benchmark() {
    run 0 bench --model m.onnx --seconds 0.05 --warmup 0 --batch 3 --json b.json
    has out "batch 3"
    has out "median ms"
    OMP_PROC_BIND=false run 0 bench --model m.onnx --seconds 0.05 --warmup 0 --json -
    cp out free.json
    OMP_PROC_BIND=true run 0 bench --model m.onnx --seconds 0.05 --warmup 0 --json -
    for key in num_cores pinned; do has out "$(grep "\"$key\"" free.json)"; done
    run 0 bench --model m.onnx --seconds 0.05 --warmup 0 --threads 2 --streams 2 --per-layer --profile trace.json --json -
    cp out streams.json
    has streams.json '"scenario": "multistream"'
    run 0 bench --model m.onnx --seconds 0.05 --warmup 0 --per-layer
    has out "block2.conv1"
    has out "Together"
    run 0 bench --model m.onnx --seconds 0.05 --warmup 0 --threads 2 --batch 64 --per-layer --profile split.json
    has out "block2.conv1"
    has out "run in pieces"
    has split.json "block2.conv1"
    run 2 bench
    run 2 bench --model m.onnx --threads 3 --streams 2
    has err "cannot be shared evenly"
    run 2 bench --model m.onnx --seconds soon
    run 2 bench --model m.onnx --seed x
    run 2 bench --model m.onnx --shape nosuch=3
    run 3 bench --model nothing.onnx
    run 8 bench --model m.onnx --against onnxruntime --python nothing/python3
    has err "nothing/python3"
    run 8 bench --model m.onnx --against onnxruntime --python true
    has err "without an answer"
    run 2 bench --model m.onnx --against everyone
    run 2 bench --model m.onnx --dense m.onnx --dense-of-itself
    run 2 bench --model m.onnx --sparsity-sweep 0.5,0.2
    has err "ascending"
    run 2 bench --model m.onnx --svg x.svg
    has err "--sparsity-sweep"
    run 0 bench --model m.onnx --seconds 0.02 --warmup 0 --dense-of-itself
    has out "times as fast as dense"
    has out "differ by at most"
    run 0 bench --model m.onnx --seconds 0.02 --warmup 0 --sparsity-sweep 0,50%,.9 --pattern 4x1 --svg x.svg --json sweep.json
    has out "90.0 %"
    has x.svg "4x1"
    run 2 --model m.onnx --sparsity 0.5 --bench --quiet
    run 2 --model m.onnx --sparsity 0.5 --bench --force -o m.onnx
    command -v python3 >/dev/null || { skip "python3 is not there to read JSON"; return; }
    python3 - streams.json b.json >python.out 2>&1 <<'PYTHON' || problem "$(cat python.out)"
import json, sys
for f in sys.argv[1:]:
    b = json.load(open(f))
    r = b["benchmark_result"]
    assert {"engine", "version", "orig_model_path", "model_path", "batch_size", "input_shapes", "num_cores", "scenario", "scheduler", "seconds_to_run", "num_streams",
            "fraction_of_supported_ops", "cpu", "isa", "seconds_to_load", "seconds_to_plan", "seconds_to_first_run", "peak_memory_bytes"} <= set(b)
    assert r["25.0%"] <= r["50.0%"] == r["median"] <= r["75.0%"] <= r["90.0%"] <= r["95.0%"] <= r["99.0%"] <= r["99.9%"], r
    assert r["iterations"] >= 5 and r["std"] >= 0 and r["scenario"] == b["scenario"]
    assert b["num_streams"] > 1 or abs(r["items_per_sec"] - b["batch_size"] * r["iterations"] / r["seconds_ran"]) < 1e-6 * r["items_per_sec"]
assert b["batch_size"] == b["input_shapes"][0][0] == 3
sweep = json.load(open("sweep.json"))["sweep"]
assert [p["sparsity"] for p in sweep] == [0, 0.5, 0.9] and sweep[0]["bound"] == 1 < sweep[1]["bound"] < 2 < sweep[2]["bound"] < 10, sweep
assert all(abs(p["zeros"] - p["sparsity"]) < 0.01 and 0 < p["speedup_25"] <= p["speedup_75"] for p in sweep), sweep
layers = json.load(open("streams.json"))["layers"]
assert abs(sum(l["share"] for l in layers) - 1) < 1e-9 and all(l["milliseconds"] >= 0 for l in layers)
assert any(l["gflops"] and l["zeros"] == 0 and l["operator"] == "Conv" for l in layers)
events = json.load(open("trace.json"))["traceEvents"]
assert len(events) == 5 * (len(layers) + 1) and all(e["ph"] == "X" and e["dur"] >= 0 for e in events)
PYTHON
}

# The shared library offers what oneshot.h declares and nothing else.
exported() {
    local library
    library=$(find "$(dirname "$oneshot")" -maxdepth 1 -name 'liboneshot.so*' | head -n 1)
    if [ -z "$library" ] || ! command -v nm >/dev/null; then skip "no shared library or no nm"; return; fi
    nm -D --defined-only "$library" | awk '{ print $3 }' | grep -v '^_\(init\|fini\)$\|^\.gomp_' | sort >offered       # clang's locks of critical sections
    grep -o 'oneshot_[a-z_]*(' "$top/engine/api/oneshot.h" | tr -d '(' | sort -u >declared
    grep -vxFf declared offered >extra
    grep -vxFf offered declared >absent
    empty extra
    empty absent
}

# A loop without end. Where jobs of a script run in the background, Ctrl-C is ignored: env brings it back.
interrupted() {
    local status
    cp "$top/tests/corpus/run/loop-endless" endless.onnx
    mkdir data && cp "$top/tests/corpus/npz/archive-stored" data/a.npz
    timeout -k 10 -s INT 1 env --default-signal=INT "$oneshot" run --model endless.onnx --data data --out outputs >out 2>err
    status=$?
    [ $status -eq 124 ] || problem "Ctrl-C: status $status instead of 124"
    only_files m.onnx endless.onnx data data/a.npz outputs
    run 8 run --model endless.onnx --data data --out outputs --time-limit 0.2
    has err "This model takes longer than the limit of 0.2 seconds."
    only_files m.onnx endless.onnx data data/a.npz outputs
}
memory_limit() {
    run 8 run --model m.onnx --data "$top/examples/samples" --out outputs --memory-limit 100K
    has err "the limit of 100 KiB allows"
    [ -z "$(ls outputs 2>/dev/null)" ] || problem "outputs: $(ls outputs)"
    run 0 run --model m.onnx --data "$top/examples/samples" --out outputs --memory-limit 1G --quiet
    exists outputs/out-0000.npz
}

check "main job" main_job
check "note at low sparsity" quiet_note
check "default names" default_names
check "dry run" dry_run
check "json" json
check "streams" streams
check "colors" colors
check "usage" usage
check "help and version" help_and_version
check "tuning" tuning
check "manual" manual
check "completion" completion
check "unreadable models" unreadable
check "other formats" other_formats
check "converting" converting
check "threads" same_for_threads
check "choices" choices
check "differences" differences
check "bench" benchmark
check "interrupted" interrupted
check "memory limit" memory_limit
check "exported symbols" exported
finish
