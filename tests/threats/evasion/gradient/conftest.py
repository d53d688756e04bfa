"""A device that is not there: tensors whose numbers are at hand, but which meet only their like, as on CUDA."""

from __future__ import annotations

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

FAR = torch.device("meta")
INDEXED = {torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default, torch.ops.aten.index_put.default}
MOVES = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}


class Far(torch.Tensor):
    """Numbers that only their device may touch."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, here):
        far = torch.Tensor._make_wrapper_subclass(
            cls, here.size(), strides=here.stride(), dtype=here.dtype, device=FAR
        )
        far.here = here
        return far

    def tolist(self):
        return self.here.tolist()

    def __getitem__(self, place):
        return torch.Tensor.__getitem__(self, torch.tensor(place) if isinstance(place, list) else place)

    def __setitem__(self, place, value):
        torch.Tensor.__setitem__(self, torch.tensor(place) if isinstance(place, list) else place, value)

    @classmethod
    def __torch_dispatch__(cls, function, _types, args=(), kwargs=None):
        return served(function, args, kwargs or {})


class Elsewhere(TorchDispatchMode):
    """While it is on, `FAR` is a device that computes."""

    def __torch_dispatch__(self, function, _types, args=(), kwargs=None):
        return served(function, args, kwargs or {})


class Written(TorchFunctionMode):
    """Python numbers reach the device as they reach any other."""

    def __torch_function__(self, function, _types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function not in {torch.tensor, torch.as_tensor} or kwargs.get("device") != FAR:
            return function(*args, **kwargs)
        del kwargs["device"]
        return function(*args, **kwargs).to(FAR)


def served(function, args, kwargs):
    """Compute on the numbers; refuse what CUDA refuses: tensors of two devices in one operation."""
    given = tree_flatten((args, kwargs))[0]
    tensors = [one for one in given if isinstance(one, torch.Tensor)]
    far = [one for one in tensors if isinstance(one, Far)]
    device = kwargs.get("device")
    if far and function not in MOVES:
        met = tree_flatten(args[1])[0] if function in INDEXED else []
        near = [one for one in tensors if not isinstance(one, Far) and one.dim() > 0]
        if [one for one in near if not any(one is index for index in met)]:
            raise RuntimeError(f"Expected all tensors to be on the same device: {function}")
    names = {id(one.here): one for one in far}
    near_args, near_kwargs = tree_map(lambda one: one.here if isinstance(one, Far) else one, (args, kwargs))
    if device is not None:
        near_kwargs["device"] = torch.device("cpu")
    answer = function(*near_args, **near_kwargs)
    stays = isinstance(args[0], Far) if function in MOVES else bool(far)
    if function is torch.ops.aten._local_scalar_dense.default or not (
        stays if device is None else torch.device(device) == FAR
    ):
        return answer

    def back(value):
        if not isinstance(value, torch.Tensor) or isinstance(value, Far):
            return value
        return names.get(id(value)) if id(value) in names else Far(value)

    return tree_map(back, answer)


@pytest.fixture
def elsewhere():
    """The device, switched on."""
    with Elsewhere(), Written():
        yield FAR
