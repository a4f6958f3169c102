"""Runs a module or script as `python -m` would, with FSDP on processors: accelerate applies it on accelerators only.

accelerate launch --config_file recipes/accelerate/fsdp.yaml --num_processes 2 -m tests.engines.fsdp_on_cpu g2rpo train …
"""

import runpy
import sys

from accelerate.state import AcceleratorState, DistributedType, PartialState

made = AcceleratorState.__init__


def as_on_accelerators(self, *args, **kwargs):
    shared = PartialState._shared_state
    if shared.get("distributed_type") == DistributedType.MULTI_CPU:
        shared["distributed_type"] = DistributedType.MULTI_GPU
    made(self, *args, **kwargs)


AcceleratorState.__init__ = as_on_accelerators

if __name__ == "__main__":
    sys.argv = sys.argv[1:]
    if sys.argv[0].endswith(".py"):
        runpy.run_path(sys.argv[0], run_name="__main__")
    else:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
