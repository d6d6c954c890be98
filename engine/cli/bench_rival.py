"""The other side of `oneshot bench --against RUNTIME`: runs a model in that runtime (the argument) when told so over the standard input.

An answer is a line "ok BYTES WORDS" with so many bytes after it, or "error SENTENCE". The first one says that the runtime is there. Then comes the setup, a line of
JSON: model, threads (of one stream), streams, cpus, samples, inputs [{name, dtype, shape, bytes}], with the bytes of every input of every sample after it; the answer
says that the model has run once: doubles: seconds to load and to run, bytes of memory. Commands after that:
    round SECONDS      runs for so long, at least once; doubles: the wall-clock seconds, then the latency of every inference
    output I           output I of the first sample
"""
import os
import sys

channel_in, channel_out = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)                              # what others print is no answer


def answer(data=b"", words=""):
    channel_out.write(b"ok %d %s\n" % (len(data), words.encode()))
    channel_out.write(data)
    channel_out.flush()


def fail(sentence):
    channel_out.write(b"error " + " ".join(sentence.split()).encode() + b"\n")
    channel_out.flush()
    sys.exit(0)


try:
    import numpy
    if sys.argv[1] == "onnxruntime":
        import onnxruntime as runtime
    else:
        os.environ["NM_DISABLE_ANALYTICS"] = "1"
        import deepsparse as runtime
except ImportError as problem:
    fail("missing %s" % problem)

import json
import shutil
import tempfile
import threading
import time
from array import array


class OnnxRuntime:
    def __init__(self, setup):
        o = runtime.SessionOptions()
        o.intra_op_num_threads, o.inter_op_num_threads = setup["threads"], 1
        o.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
        o.log_severity_level = 4
        o.add_session_config_entry("session.force_spinning_stop", "1")     # its threads spin while it runs, and not while others do
        self.session = runtime.InferenceSession(setup["model"], o, providers=["CPUExecutionProvider"])

    def prepare(self, feed):
        b = self.session.io_binding()
        for name, value in feed.items():
            b.bind_cpu_input(name, value)
        for o in self.session.get_outputs():
            b.bind_output(o.name)
        return b

    def run(self, binding):
        self.session.run_with_iobinding(binding)

    def outputs(self, binding):
        self.run(binding)
        return binding.copy_outputs_to_cpu()


class DeepSparse:
    def __init__(self, setup):
        shapes = [i["shape"] for i in setup["inputs"]]
        with tempfile.TemporaryDirectory() as folder:          # it writes the batch into the file that it is given
            copy = shutil.copy(setup["model"], folder)
            self.engine = runtime.Engine(copy, shapes[0][0], num_cores=setup["threads"], input_shapes=shapes)

    def prepare(self, feed):
        return list(feed.values())

    def run(self, arrays):
        self.engine.run(arrays, val_inp=False)

    def outputs(self, arrays):
        return self.engine.run(arrays)


class Stream:
    def __init__(self, setup, samples):
        start = time.perf_counter()
        self.model = {"onnxruntime": OnnxRuntime, "deepsparse": DeepSparse}[sys.argv[1]](setup)
        loaded = time.perf_counter()
        self.prepared = [self.model.prepare(feed) for feed in samples]
        self.model.run(self.prepared[0])
        self.first = [loaded - start, time.perf_counter() - loaded]

    def run(self, seconds):
        run, prepared, clock = self.model.run, self.prepared, time.perf_counter
        run(prepared[0])                   # not counted: it wakes threads and fills caches
        self.latency = array("d")
        self.begin = self.end = clock()
        while not self.latency or self.end - self.begin < seconds:
            before = self.end
            run(prepared[len(self.latency) % len(prepared)])
            self.end = clock()
            self.latency.append(self.end - before)


def run_round(streams, seconds):
    threads = [threading.Thread(target=s.run, args=(seconds,)) for s in streams[1:]]
    for t in threads:
        t.start()
    streams[0].run(seconds)
    for t in threads:
        t.join()
    result = array("d", [max(s.end for s in streams) - min(s.begin for s in streams)])
    for s in streams:
        result.extend(s.latency)
    answer(result.tobytes())


def memory(field):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(field))


def forget_peak():
    try:
        with open("/proc/self/clear_refs", "w") as f:
            f.write("5")
        return True
    except OSError:
        return False


def read_samples(setup):
    samples = []
    for _ in range(setup["samples"]):
        feed = {}
        for i in setup["inputs"]:
            feed[i["name"]] = numpy.frombuffer(channel_in.read(i["bytes"]), dtype=i["dtype"]).reshape(i["shape"])
        samples.append(feed)
    return samples


def main():
    answer()
    setup = json.loads(channel_in.readline())
    samples = read_samples(setup)
    os.sched_setaffinity(0, setup["cpus"])
    measured = forget_peak()
    before = memory("VmRSS")
    streams = [Stream(setup, samples)]
    peak = memory("VmHWM") - before if measured else -1
    streams += [Stream(setup, samples) for _ in range(setup["streams"] - 1)]
    answer(array("d", streams[0].first + [peak]).tobytes(), runtime.__version__)
    for line in channel_in:
        command, value = line.decode().split()
        if command == "round":
            run_round(streams, float(value))
        else:
            value = streams[0].model.outputs(streams[0].prepared[0])[int(value)]
            answer(numpy.ascontiguousarray(value).tobytes() if isinstance(value, numpy.ndarray) and value.dtype != object else b"")


try:
    main()
except Exception as problem:
    fail("%s" % problem)
