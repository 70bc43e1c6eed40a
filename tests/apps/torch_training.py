"""PyTorch on the CPU: a training loop gives the same numbers whatever is collected meanwhile."""

import gc
import unittest
import weakref

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from churn import Churn

STEPS = 60


class Square(torch.autograd.Function):
    """An autograd function in Python: its context is part of the graph."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        ctx.ring = [ctx]
        return x * x

    @staticmethod
    def backward(ctx, gradient):
        x, = ctx.saved_tensors
        return 2 * x * gradient


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 64), nn.Tanh())
        self.attention = nn.MultiheadAttention(64, 4, batch_first=True)
        self.out = nn.Linear(64, 1)
        self.seen = 0
        self.register_forward_hook(lambda module, *_: setattr(self, "seen", self.seen + 1))

    def forward(self, x):
        x = self.layers(x)
        return self.out(Square.apply(self.attention(x, x, x)[0]))


class Numbers(Dataset):
    def __len__(self):
        return 512

    def __getitem__(self, i):
        x = torch.sin(torch.arange(i, i + 8 * 16, dtype=torch.float32)).reshape(8, 16)
        return x, x.sum(1, keepdim=True)


def train(churn=None, workers=0):
    """Losses and a checksum of the weights."""
    torch.manual_seed(7)
    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    losses = []
    loader = DataLoader(Numbers(), batch_size=32, num_workers=workers)
    while len(losses) < STEPS:
        for x, y in loader:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(net(x), y)
            loss.backward(retain_graph=len(losses) % 7 == 0)
            optimizer.step()
            losses.append(loss.item())
            if churn:
                churn.keep = [loss, [churn.__dict__]]      # a graph in a ring
                churn.step(300)
            if len(losses) == STEPS:
                break
    assert net.seen == STEPS
    return losses, sum(p.double().sum().item() for p in net.parameters())


class Training(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        torch.set_num_threads(2)
        torch.use_deterministic_algorithms(True)
        gc.disable()
        cls.expected = train()
        gc.enable()

    def test_the_same_numbers_with_collections(self):
        churn = Churn()
        self.assertEqual(train(churn), self.expected)
        churn.check()
        self.assertLess(self.expected[0][-1], self.expected[0][0] / 2)

    def test_workers_are_forked(self):
        churn = Churn(5000)
        self.assertEqual(train(churn, workers=2), self.expected)
        churn.check()

    def test_rings_of_tensors_die(self):
        refs = []
        for i in range(500):
            tensor = torch.ones(100, requires_grad=True)
            tensor.ring = [tensor, tensor.detach() * i]
            refs.append(weakref.ref(tensor))
        del tensor
        gc.collect()
        self.assertEqual([r() for r in refs], [None] * 500)


if __name__ == "__main__":
    unittest.main(verbosity=2)
