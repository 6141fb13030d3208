"""What torch.compile loads late and asks of the machine: seconds in every process, the same in all.

Imported before a process forks others for the CPU, which then have it. PyTorch remembers what it
has found out, so that here it need only be asked. Where another version has no such questions, or a
machine no answers, nothing is lost.
"""

import contextlib

import torch._inductor.compile_fx  # noqa: F401

with contextlib.suppress(Exception):
    from torch._inductor.codecache import torch_key
    from torch._inductor.cpu_vec_isa import valid_vec_isa_list

    torch_key()
    valid_vec_isa_list()  # compiles a probe and loads it, in processes of its own
