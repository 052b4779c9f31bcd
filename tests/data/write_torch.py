"""Writes tests/data/*.pt with PyTorch itself (those here: 2.15). Run by hand:
python3 write_torch.py; tests read the files only, and need no PyTorch."""
import collections
import os
import sys

import torch

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, "..", "e2e"))
from tensors import load


def dev_mvsplit():
    """The golden weights as a training script would leave them, in every layout that a tensor may have."""
    arrays, _ = load(f"{here}/dev-mvsplit.safetensors")
    names = [name for name in arrays if name.startswith("w/")]
    tensors = [torch.from_numpy(arrays[name].copy()) for name in names]
    flat = torch.cat([each.reshape(-1) for each in tensors[::4]])
    state, at = collections.OrderedDict(), 0
    for number, (name, value) in enumerate(zip(names, tensors)):
        if number % 4 == 0:  # all of these share one storage
            value, at = flat[at:at + value.numel()].view(value.shape), at + value.numel()
        if number % 4 == 1 and value.dim() == 2:
            value = value.t().contiguous().t()  # by columns
        if number % 4 == 2 and value.dim() == 1:
            value = torch.nn.Parameter(torch.stack([value, value], 1)[:, 0])  # every other element
        if number % 4 == 3 and value.numel() < 100:
            value = value.double()
        state[name[2:]] = value
    state._metadata = {"": {"version": 1}}
    torch.save({"model": state, "epoch": 3, "lr": 1e-3, "done": False, "rng": torch.arange(16, dtype=torch.uint8),
                "optimizer": {"state": {0: {"step": torch.tensor(7.0)}}, "param_groups": [{"params": [0], "betas": (0.9, 0.999)}]}},
               f"{here}/dev-mvsplit.pt")


def dtypes():
    """Small tensors of every dtype and layout; their values are their indices."""
    base = torch.arange(24).reshape(2, 3, 4)
    kinds = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8")
    state = {kind: base.to(getattr(torch, kind)) for kind in kinds}
    state.update({"bool": base > 11, "permuted": base.float().permute(2, 0, 1), "part": base.float()[:, 1:, ::2],
                  "expanded": torch.tensor([5.0]).expand(3, 2), "empty": torch.zeros(0, 4), "number": torch.tensor(2.5)})
    for protocol in (2, 4):
        torch.save(state, f"{here}/dtypes-{protocol}.pt", pickle_protocol=protocol)
    torch.save({"a": base}, f"{here}/legacy.pt", _use_new_zipfile_serialization=False)
    torch.save(torch.nn.Linear(2, 2), f"{here}/module.pt")


if __name__ == "__main__":
    torch.manual_seed(1)
    dev_mvsplit()
    dtypes()
