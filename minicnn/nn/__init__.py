"""Modules and layers, under PyTorch's names."""

from __future__ import annotations

from minicnn.nn import functional, init, utils
from minicnn.nn.containers import ModuleDict, ModuleList, ParameterDict, ParameterList, Sequential
from minicnn.nn.layers.activation import *
from minicnn.nn.layers.convolution import *
from minicnn.nn.layers.distance import *
from minicnn.nn.layers.dropout import *
from minicnn.nn.layers.linear import *
from minicnn.nn.layers.loss import *
from minicnn.nn.layers.normalization import *
from minicnn.nn.layers.padding import *
from minicnn.nn.layers.pooling import *
from minicnn.nn.layers.recurrent import *
from minicnn.nn.layers.vision import *
from minicnn.nn.module import Module
from minicnn.nn.parameter import Parameter
