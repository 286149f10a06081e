"""A backbone of which the last layers alone are trained."""

from torch import nn


def freeze_all_but_last(backbone: nn.Module, count: int) -> list[nn.Module]:
    """Freeze a backbone up to its last `count` layers, which are those that `backbone.layers` gives the features of.

    What comes behind the last layer, such as a norm, is trained too; what comes before the first, such as an embedding, is not.
    Modules of a backbone are registered in the order in which inputs pass through them.

    Args:
        backbone: its `stages` are the modules whose outputs its layers are.
        count: at least 1.

    Returns:
        the modules of which nothing is trained. They belong in evaluation mode: batch norm would go on to change what its frozen
        weights were trained with, the running statistics, and dropout would only blur inputs for the layers that learn.

    Raises:
        ValueError: it has no more layers than those, or they have no weights.
    """
    layers: list[nn.Module] = list(getattr(backbone, "stages", ()))
    if len(layers) < 2:
        raise ValueError("it is not made of several layers; take stage.train=all, head or lora")
    if count >= len(layers):
        raise ValueError(
            f"it has {len(layers)} layers; must be at most {len(layers) - 1}, and stage.train=all trains all of them"
        )
    ordered = list(backbone.modules())
    places = {id(module): place for place, module in enumerate(ordered)}
    last = max(places[id(module)] for layer in layers[:-count] for module in layer.modules())
    before, trained = ordered[: last + 1], {id(module) for module in ordered[last + 1 :]}
    for module in before:
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in backbone.parameters()):
        raise ValueError("these layers have no weights; take more of them")
    return [module for module in before if not any(id(inside) in trained for inside in module.modules())]
