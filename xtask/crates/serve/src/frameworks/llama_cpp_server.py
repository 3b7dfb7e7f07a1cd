"""Run llama.cpp's HTTP server from the wheel `xllamacpp` until SIGTERM or SIGINT.

Takes the long option names of `llama-server` for what servegate sets. It ends with exit code 1
where the model cannot be loaded or the port cannot be bound.
"""

import argparse
import os
import signal
import sys
import threading


def arguments():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--model", required=True, help="GGUF file")
    parser.add_argument("--alias", required=True, help="name under which it is served")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ctx-size", "-c", type=int, required=True, help="tokens, all slots together")
    parser.add_argument("--parallel", "-np", type=int, required=True, help="slots")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--gpu-layers", "-ngl", type=int, required=True)
    parser.add_argument("--slot-save-path", required=True)
    parser.add_argument("--no-cache-prompt", action="store_true")
    parser.add_argument("--threads", "-t", type=int, default=None)
    parser.add_argument("--threads-batch", "-tb", type=int, default=None)
    parser.add_argument("--batch-size", "-b", type=int, default=None)
    parser.add_argument("--ubatch-size", "-ub", type=int, default=None)
    return parser.parse_args()


def parameters(wanted):
    # Imported late: a wrong command line is told without waiting for the library.
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = wanted.model
    params.model_alias = {wanted.alias}
    params.hostnames = ["127.0.0.1"]
    params.port = wanted.port
    params.n_ctx = wanted.ctx_size
    params.n_parallel = wanted.parallel
    params.n_gpu_layers = wanted.gpu_layers
    params.sampling.seed = wanted.seed
    # What is not set is not made smaller until it fits: it was set on purpose, or it fails.
    params.fit_params = False
    params.endpoint_metrics = True
    params.endpoint_slots = True
    params.slot_save_path = os.path.join(wanted.slot_save_path, "")
    if wanted.no_cache_prompt:
        params.cache_prompt = False
        params.cache_ram_mib = 0
        params.cache_idle_slots = False
    if wanted.threads is not None:
        params.cpuparams.n_threads = wanted.threads
    if wanted.threads_batch is not None:
        params.cpuparams_batch.n_threads = wanted.threads_batch
    if wanted.batch_size is not None:
        params.n_batch = wanted.batch_size
    if wanted.ubatch_size is not None:
        params.n_ubatch = wanted.ubatch_size
    return params


def main():
    wanted = arguments()
    leave = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: leave.set())

    import xllamacpp

    server = xllamacpp.Server(parameters(wanted))
    print("listening on", server.listening_address, flush=True)
    # Waits in short pieces: a lock that waits for ever would keep signals from being handled.
    while not leave.wait(0.2):
        pass
    # The library's threads are still serving; an orderly shutdown of the interpreter would wait
    # for streams that nobody reads any more.
    sys.stdout.flush()
    os._exit(0)


main()
