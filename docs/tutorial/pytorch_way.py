"""Its port to PyTorch: softmax before a loss that applies it again, and five full-batch steps."""

import torch
from torch import nn

model = nn.Sequential(
    nn.Linear(64, 32),
    nn.ReLU(),
    nn.Linear(32, 10),
    nn.Softmax(dim=1),
)
loss = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
batch_size, epochs = 1437, 5
