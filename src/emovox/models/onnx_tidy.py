"""Bring exported ONNX graphs into one form: the same bytes for the same model, and no traces of who made them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, helper, numpy_helper

_TRACES = ("doc_string", "metadata_props")


def keep_output(model: onnx.ModelProto, name: str) -> None:
    """Leave one output, and only the nodes and constants that it needs."""
    graph = model.graph
    needed = {name}
    nodes = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            nodes.append(node)
            needed.update(_used_names(node))
    _replace(graph.node, reversed(nodes))
    _replace(graph.initializer, (item for item in graph.initializer if item.name in needed))
    _replace(graph.output, (item for item in graph.output if item.name == name))


def order_columns(model: onnx.ModelProto, output: str, present: Sequence[str], wanted: Sequence[str]) -> None:
    """Rearrange the columns of a (batch, labels) output from the order `present` to the order `wanted`."""
    if list(present) == list(wanted):
        return
    inner = f"{output}_unordered"
    for node in model.graph.node:
        _rename(node, {output: inner})
    order = np.array([present.index(label) for label in wanted], dtype=np.int64)
    model.graph.initializer.append(numpy_helper.from_array(order, f"{output}_order"))
    model.graph.node.append(helper.make_node("Gather", [inner, f"{output}_order"], [output], axis=1))


def tidy(model: onnx.ModelProto, *, producer: str, version: str) -> None:
    """Name the maker, drop what converters leave behind, and number the values in the order in which they arise.

    torch notes its source lines (and so paths of this machine) at every node, and numbers values by a counter that
    does not start at 0 each time. Weights with a name of their own, such as ``head.weight``, keep it.
    """
    model.producer_name, model.producer_version = producer, version
    for field in (*_TRACES, "domain", "model_version"):
        model.ClearField(field)
    model.graph.name = producer
    graphs = [model.graph, *_subgraphs(model.graph.node)]
    public = {item.name for item in (*model.graph.input, *model.graph.output)}
    names = _numbered(model.graph, public)
    for graph in graphs:
        graph.ClearField("value_info")
        for item in (graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
            for field in _TRACES:
                item.ClearField(field)
        for node in graph.node:
            node.ClearField("name")
            _rename(node, names)
        for item in (*graph.initializer, *graph.input, *graph.output):
            item.name = names.get(item.name, item.name)
    _replace(model.graph.initializer, sorted(model.graph.initializer, key=lambda item: item.name))
    used = {node.domain for graph in graphs for node in graph.node} | {""}
    used |= {function.domain for function in model.functions}
    used |= {node.domain for function in model.functions for node in function.node}
    _replace(model.opset_import, [item for item in model.opset_import if item.domain in used])


def _numbered(graph: onnx.GraphProto, public: set[str]) -> dict[str, str]:
    """New names of all values, by first appearance; names are unique over a graph and its subgraphs."""
    own = {item.name for item in graph.initializer if "." in item.name}
    names: dict[str, str] = {}
    for name in _names_in_order(graph):
        if name and name not in public and name not in own:
            names.setdefault(name, f"v{len(names)}")
    return names


def _names_in_order(graph: onnx.GraphProto) -> Iterator[str]:
    for item in graph.input:
        yield item.name
    for node in graph.node:
        yield from node.input
        for part in _own_graphs(node):
            yield from _names_in_order(part)
        yield from node.output
    for item in (*graph.output, *graph.initializer):
        yield item.name


def _own_graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _subgraphs(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.GraphProto]:
    for node in nodes:
        for graph in _own_graphs(node):
            yield graph
            yield from _subgraphs(graph.node)


def _used_names(node: onnx.NodeProto) -> set[str]:
    inner = (name for graph in _subgraphs([node]) for part in graph.node for name in part.input)
    outer = (item.name for graph in _subgraphs([node]) for item in graph.output)
    return {*node.input, *inner, *outer}


def _rename(node: onnx.NodeProto, names: dict[str, str]) -> None:
    node.input[:] = [names.get(name, name) for name in node.input]
    node.output[:] = [names.get(name, name) for name in node.output]


def _replace(field: Any, items: Iterable[Any]) -> None:
    """Set a repeated field; the items may be some of its own, which clearing it would empty."""
    copies = [type(item).FromString(item.SerializeToString()) for item in items]
    del field[:]
    field.extend(copies)
