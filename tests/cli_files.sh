#!/usr/bin/env bash
# The files that the command writes: what it refuses to replace, what it says when it cannot write, what a kill or a full disk leaves behind.
# The last line is "N passed, N failed, N skipped".
#   tests/cli_files.sh [WORD]  only tests whose name contains the word
# ONESHOT: the command (build/oneshot).
# shellcheck source=tests/cli_check.sh
. "$(dirname "$0")/cli_check.sh"

overwriting() {
    run 2 --model m.onnx --sparsity 0.8 -o m.onnx
    has err "--force"
    ln -s m.onnx link.onnx
    run 2 --model m.onnx --sparsity 0.8 -o link.onnx
    run 2 --model link.onnx --sparsity 0.8 -o ./m.onnx
    run 2 convert m.onnx m.onnx
    run 2 --model m.onnx --sparsity 0.8 --json m.onnx
    run 2 --model m.onnx --sparsity 0.8 -o a.onnx --json a.onnx
    run 2 inspect m.onnx --json m.onnx
    same m.onnx "$example"
    rm link.onnx
    only_files m.onnx
    echo old >m.oneshot.onnx
    run 0 --model m.onnx --sparsity 0.8 -q
    run 0 inspect m.oneshot.onnx
    run 0 --model m.onnx --sparsity 0.8 -o m.onnx --force -q
    run 9 diff "$example" m.onnx
    run 0 convert m.onnx m.onnx --force
}
# What cannot be written is said before the work: outputs and reports, in any command.
bad_folders() {
    mkdir taken
    printf 'x' >file
    cp m.onnx m.report.json
    run 8 --model m.onnx --sparsity 0.8 -o nowhere/x.onnx
    has err "there is no folder nowhere"
    run 8 --model m.onnx --sparsity 0.8 -o file/x.onnx
    has err "file is not a folder"
    run 8 --model m.onnx --sparsity 0.8 -o taken
    has err "cannot write taken: it is a folder"
    run 8 --model m.onnx --sparsity 0.8 -o taken/
    run 8 --model m.onnx --sparsity 0.8 -o /proc/self/x.onnx
    run 8 --model m.onnx --sparsity 0.8 --json nowhere/r.json
    has err "there is no folder nowhere"
    run 8 --model m.onnx --sparsity 0.8 --dry-run --json taken
    run 2 --model m.report.json --sparsity 0.8 -o m.onnx
    has err "the report 'm.report.json' would replace a model"
    empty out
    run 8 inspect m.onnx --json nowhere/r.json
    run 8 diff m.onnx m.onnx --json taken
    run 8 convert m.onnx nowhere/x.onnx
    has err "there is no folder nowhere"
    run 8 convert m.onnx taken
    run 8 run --model m.onnx --data "$top/examples/samples" --out nowhere/deep
    has err "there is no folder nowhere"
    run 8 run --model m.onnx --data "$top/examples/samples" --out file
    has err "file' is not a folder"
    for option in --json --profile; do
        run 8 bench --model m.onnx --seconds 60 "$option" nowhere/f
        has err "there is no folder nowhere"
        run 2 bench --model m.onnx --seconds 60 "$option" m.onnx
        has err "would replace a model"
    done
    run 8 bench --model m.onnx --seconds 60 --sparsity-sweep 0,.5 --svg nowhere/f.svg
    has err "there is no folder nowhere"
    run 2 bench --model m.onnx --seconds 60 --sparsity-sweep 0,.5 --svg m.onnx
    run 8 tune -o file/cost.txt
    has err "file is not a folder"
    same m.onnx "$example"
    rm -r taken file m.report.json
    only_files m.onnx
}
# Data that a model reads is not replaced by a model or a report of it.
data_in_the_way() {
    run 0 convert m.onnx e.onnx --external-data
    cp e.onnx.data kept
    run 2 convert e.onnx e.onnx.data
    has err "holds data of the model that was read"
    run 2 convert e.onnx e.onnx.data --force
    run 2 --model e.onnx --sparsity 0.8 -o e.onnx.data --force
    run 2 --model e.onnx --sparsity 0.8 -o ./e.onnx.data
    run 2 inspect e.onnx --json e.onnx.data
    has err "would replace data of a model"
    run 2 diff m.onnx e.onnx --json e.onnx.data
    for option in --json --profile; do
        run 2 bench --model e.onnx --seconds 60 "$option" ./e.onnx.data
        run 2 bench --model m.onnx --dense e.onnx --seconds 60 "$option" e.onnx.data
        has err "would replace data of a model"
    done
    run 2 bench --model e.onnx --seconds 60 --sparsity-sweep 0,.5 --svg e.onnx.data
    run 2 --model e.onnx --sparsity 0.8 --json e.onnx.data
    run 2 --model e.onnx --sparsity 0.8 --json e.onnx.data --dry-run
    run 2 --model e.onnx --sparsity 0.8 -o x.onnx --json x.onnx.data
    has err "is where the data of the model goes"
    run 0 --model m.onnx --sparsity 0.8 -o x.onnx --json x.onnx.data -q
    rm x.onnx x.onnx.data x.report.json
    cp e.onnx.data x.onnx.data
    LC_ALL=C sed 's/e.onnx.data/x.onnx.data/g' e.onnx >x
    run 2 --model x --sparsity 0.8 -o x.onnx
    has err "x.onnx.data holds data of the model that was read"
    rm x x.onnx.data
    mkdir x.onnx.data
    run 8 --model e.onnx --sparsity 0.8 -o x.onnx
    has err "cannot write x.onnx.data: it is a folder"
    run 8 convert m.onnx x.onnx --external-data
    run 0 --model m.onnx --sparsity 0.8 -o x.onnx -q
    rm -r x.onnx x.onnx.data x.report.json
    run 0 convert m.onnx abc.onnx --external-data
    mv abc.onnx.data x.report.json
    LC_ALL=C sed -i 's/abc.onnx.data/x.report.json/g' abc.onnx
    run 2 --model abc.onnx --sparsity 0.8 -o x.onnx
    has err "the report 'x.report.json' would replace data of a model"
    rm abc.onnx x.report.json
    same e.onnx.data kept
    mkdir other && cp m.onnx other/e.onnx && echo foreign >other/e.onnx.data
    run 2 convert e.onnx other/e.onnx
    has err "--force"
    same m.onnx other/e.onnx
    run 0 convert e.onnx other/e.onnx --force
    same e.onnx other/e.onnx
    same e.onnx.data other/e.onnx.data
    rm -r other kept e.onnx e.onnx.data
    only_files m.onnx
}
# Outputs of a run replace no file of the model, found out before the first is written; two reports do not go to one file, however it is called.
one_file_each() {
    mkdir -p o/test_data_set_0
    cp m.onnx o/test_data_set_0/output_0.pb
    run 2 run --model o/test_data_set_0/output_0.pb --data "$top/examples/samples" --out ./o --format pb
    has err "test_data_set_0/output_0.pb' would replace a model"
    same m.onnx o/test_data_set_0/output_0.pb
    rm -r o
    run 0 convert m.onnx e2.onnx --external-data
    LC_ALL=C sed 's/e2.onnx.data/out-0003.npz/g' e2.onnx >e.onnx
    mv e2.onnx.data out-0003.npz
    cp out-0003.npz kept
    run 2 run --model e.onnx --data "$top/examples/samples" --out .
    has err "out-0003.npz' would replace data of a model"
    same out-0003.npz kept
    missing out-0000.npz
    run 0 run --model e.onnx --data "$top/examples/samples" --out o -q
    exists o/out-0003.npz
    rm -r o e.onnx e2.onnx out-0003.npz kept
    run 2 bench --model m.onnx --seconds 60 --json r.json --profile ./r.json
    has err "--json and --profile cannot both go to './r.json'"
    run 2 bench --model m.onnx --seconds 60 --sparsity-sweep 0,.5 --json r.json --svg "$PWD/r.json"
    has err "--json and --svg cannot both go to"
    run 2 bench --model m.onnx --seconds 60 --sparsity-sweep 0,.5 --json - --svg -
    run 0 bench --model m.onnx --seconds 0.02 --warmup 0 --json /dev/null --profile /dev/null -q
    run 2 --model m.onnx --sparsity 0.8 -o x.onnx --json ./x.onnx
    has err "is where the model goes"
    run 0 convert m.onnx e.onnx --external-data
    run 2 --model e.onnx --sparsity 0.8 -o x.onnx --json ./x.onnx.data
    has err "is where the data of the model goes"
    rm e.onnx e.onnx.data
    only_files m.onnx
}
# Root may write into read-only folders, so it becomes nobody first.
locked_folder() {
    local nobody=() arguments
    mkdir locked && echo old >locked/x.onnx && chmod a-w locked
    if [ "$(id -u)" -eq 0 ]; then
        nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
        chmod a+x "$work" .
        cp "$oneshot" ./command
        "${nobody[@]}" ./command --version >out 2>&1 || { skip "no other user can run the command here"; return; }
    fi
    for arguments in "--model m.onnx --sparsity 0.8 -o locked/x.onnx" "inspect m.onnx --json locked/r.json" "convert m.onnx locked/x.onnx" \
        "run --model m.onnx --data m.onnx --out locked" "run --model m.onnx --data m.onnx --out locked/new"; do
        # shellcheck disable=SC2086
        if [ ${#nobody[@]} -eq 0 ]; then run 8 $arguments; continue; fi
        # shellcheck disable=SC2086
        "${nobody[@]}" ./command $arguments >out 2>err
        [ $? -eq 8 ] || problem "a locked folder is no error: $arguments"
        has err "cannot write into the folder locked"
    done
    has locked/x.onnx old
}
file_limit() {
    echo old >x.onnx
    (ulimit -f 8; "$oneshot" --model m.onnx --sparsity 0.8 -o x.onnx >out 2>err)
    [ $? -eq 8 ] || problem "exit code beyond the file size limit"
    has err "error"
    has x.onnx old
    only_files m.onnx x.onnx
}
full_disk() {
    unshare -m true 2>/dev/null || { skip "unshare -m is not allowed"; return; }
    cat >job.sh <<'JOB'
mkdir disk && mount -t tmpfs -o size=64k tmpfs disk && echo old >disk/x.onnx || exit 77
"$1" --model m.onnx --sparsity 0.8 -o disk/x.onnx >out 2>err
[ $? -eq 8 ] && [ "$(cat disk/x.onnx)" = old ] && [ "$(ls disk)" = x.onnx ]
JOB
    unshare -m bash job.sh "$oneshot"
    case $? in 0) ;; 77) skip "no tmpfs to be had" ;; *) problem "a full disk: $(cat err)" ;; esac
}
killed() {
    local i
    "$oneshot" --model m.onnx --sparsity 0.5 -o new.onnx -q
    echo old >old
    for i in $(seq 1 30); do
        cp old x.onnx
        "$oneshot" --model m.onnx --sparsity 0.5 -o x.onnx -q &
        sleep "0.00$((i % 10))"
        kill -9 $! 2>/dev/null
        wait $! 2>/dev/null
        cmp -s x.onnx old || cmp -s x.onnx new.onnx || problem "a killed run left $(wc -c <x.onnx) bytes"
    done
    rm -f old x.report.json new.report.json .x.onnx.*.tmp      # a file that replaces another has this name between two system calls
    only_files m.onnx new.onnx x.onnx
}
shrunk() {
    command -v python3 >/dev/null || { skip "python3 is not there to cut the file in time"; return; }
    # A sparse file of 1 GiB in one tensor is cut while its zeros are counted.
    python3 - m.onnx big.onnx "$oneshot" >python.out 2>&1 <<'PYTHON' || problem "$(cat python.out)"
import os, subprocess, sys, time
def field(number, payload): return varint(number << 3 | 2) + varint(len(payload)) + payload
def varint(n):
    out = b""
    while n > 127: out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])
rows, columns = 16384, 16384
size = rows * columns * 4
dims = b"\x08" + varint(rows) + b"\x08" + varint(columns)
tensor = dims + b"\x10\x01" + field(8, b"w") + varint(9 << 3 | 2) + varint(size)
node = field(1, field(1, b"x") + field(1, b"w") + field(2, b"y") + field(4, b"MatMul"))
def info(name): return field(1, name) + field(2, field(1, b"\x08\x01" + field(2, field(1, b"\x08\x01") + field(1, b"\x08" + varint(16384)))))
rest = field(11, info(b"x")) + field(12, info(b"y"))
graph_size = len(node) + 1 + len(varint(len(tensor) + size)) + len(tensor) + size + len(rest)
head = b"\x08\x08" + field(8, b"\x10\x11") + varint(7 << 3 | 2) + varint(graph_size) + node + rest + varint(5 << 3 | 2) + varint(len(tensor) + size) + tensor
command = [sys.argv[3], "--model", sys.argv[2], "--sparsity", "0.5", "--include", "*", "-o", "cut.onnx"]
codes = []
for delay in (0.1, 0.2, 0.05, 0.4, 0.8, 3, 10):           # the moment at which the file is being read depends on the machine
    with open(sys.argv[2], "wb") as f:
        f.write(head)
        f.truncate(len(head) + size)
    p = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    time.sleep(delay)
    os.truncate(sys.argv[2], 1 << 20)
    err = p.communicate()[1]
    codes.append(p.returncode)
    if p.returncode == 8:
        assert len(err.splitlines()) == 1 and "short" in err, err
        assert not os.path.exists("cut.onnx")
        break
    assert p.returncode in (0, 3), (p.returncode, err)
    if p.returncode == 0: os.remove("cut.onnx")
assert codes[-1] == 8, codes
PYTHON
    rm -f big.onnx
}

check "overwriting" overwriting
check "bad folders" bad_folders
check "data in the way" data_in_the_way
check "one file each" one_file_each
check "locked folder" locked_folder
check "file size limit" file_limit
check "full disk" full_disk
check "killed" killed
check "file cut short" shrunk
finish
