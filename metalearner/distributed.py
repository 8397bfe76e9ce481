"""Data-parallel training under ``torchrun``: tasks are sharded over processes, gradients summed by one all-reduce per update.

`DistributedDataParallel` is not used, because it does not support higher-order gradients.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from markets import InputError
from metalearner.objective import TaskBatch


@dataclass(frozen=True)
class Ranks:
    """Rank of this process, and the number of processes."""

    rank: int = 0
    world: int = 1

    @classmethod
    def join(cls) -> Ranks:
        """Join the process group that ``torchrun`` started; without ``torchrun``, a single process."""
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls()
        if not dist.is_initialized():
            devices = torch.cuda.device_count()
            if devices:
                torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % devices)
            # NCCL refuses two processes on one device; gloo sums their gradients through the CPU.
            alone = devices >= int(os.environ.get("LOCAL_WORLD_SIZE", "1")) > 0
            dist.init_process_group("cpu:gloo,cuda:nccl" if alone else "gloo")
        return cls(dist.get_rank(), dist.get_world_size())

    def shard(self, tasks: TaskBatch) -> TaskBatch:
        """The tasks of this process.

        Raises
        ------
        InputError
            When there are fewer tasks than processes.
        """
        if len(tasks) < self.world:
            raise InputError(
                f"{len(tasks)} tasks per step are too few for {self.world} processes; raise batch or start fewer processes"
            )
        return tasks if self.world == 1 else tasks.shard(self.rank, self.world)

    def add_up(self, module: nn.Module, loss: Tensor) -> float:
        """Sum the gradients of `module` and the losses over all processes, in one all-reduce."""
        if self.world == 1:
            return float(loss)
        held = [p for p in module.parameters() if p.grad is not None]  # the same parameters in every process
        flat = torch.cat([*(p.grad.flatten() for p in held), loss.to(held[0]).reshape(1)])  # type: ignore[union-attr]
        dist.all_reduce(flat)
        at = 0
        for p in held:
            p.grad = flat[at : at + p.numel()].view_as(p).clone()
            at += p.numel()
        return float(flat[-1])


def summed(value: Tensor) -> Tensor:
    """The sum of `value` over all processes."""
    if not (dist.is_available() and dist.is_initialized()):
        return value
    total = value.clone()
    dist.all_reduce(total)
    return total
