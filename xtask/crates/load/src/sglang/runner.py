"""Starts SGLang's load tool in a Python that has no torch.

The tool itself needs neither torch nor a GPU, but importing the package `sglang` does. This file
puts an empty package of that name in the place of the real one, with the real folder as its
search path, so that the tool's own modules are found and the heavy ones are never touched. The
few things that the tool takes from heavy modules are given here. All arguments are the tool's.
"""

import importlib.machinery
import importlib.util
import os
import runpy
import sys
import types


def package_folder():
    """The folder of the installed package, found without importing it."""
    spec = importlib.util.find_spec("sglang")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("No module named 'sglang'")
    return list(spec.submodule_search_locations)[0]


def stand_in(name, folder=None, **contents):
    """Registers an empty module, or with a folder an empty package, under a real name."""
    module = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=folder is not None)
    if folder is not None:
        module.__path__ = [folder]
    vars(module).update(contents)
    sys.modules[name] = module


def bracketed(host):
    return "[%s]" % host if ":" in host and not host.startswith("[") else host


def resolve_base_url(base_url, host, port):
    return base_url if base_url else "http://%s:%s" % (bracketed(host), port)


def resolve_host_port(base_url, host, port):
    return base_url if base_url else "%s:%s" % (host, port)


def no_download(*_, **__):
    raise RuntimeError("this Python has no package `datasets`, so no data set can be downloaded")


def prepare(root):
    """Everything that the tool imports from `sglang` and from `datasets`."""
    stand_in("sglang", root)
    for inner in ("srt", "srt.utils", "srt.disaggregation"):
        stand_in("sglang." + inner, os.path.join(root, *inner.split(".")))
    stand_in(
        "sglang.srt.utils.network",
        resolve_base_url=resolve_base_url,
        resolve_host_port=resolve_host_port,
    )
    # The address that stands for "no prefill server" in a disaggregated run; never contacted.
    stand_in("sglang.srt.disaggregation.utils", FAKE_BOOTSTRAP_HOST="2.2.2.2")
    if importlib.util.find_spec("datasets") is None:
        stand_in("datasets", load_dataset=no_download)


def main():
    root = package_folder()
    prepare(root)
    if os.path.exists(os.path.join(root, "benchmark", "serving.py")):
        # Its other load client starts the same way.
        module = os.environ.get("SERVEGATE_TOOL_MODULE", "sglang.benchmark.serving")
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        # Up to 0.5.9 the tool is one file that imports nothing of its package.
        runpy.run_path(os.path.join(root, "bench_serving.py"), run_name="__main__")


main()
