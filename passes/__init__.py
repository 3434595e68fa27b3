"""Graph passes, one per module; the registry imports each on first use."""

from collections.abc import Mapping
from types import MappingProxyType

#: Name -> ``"module:Class"`` of every pass that a pipeline can name.
REGISTRY: Mapping[str, str] = MappingProxyType(
    {
        "eliminate-dead-nodes": "acgraph.passes.eliminate_dead_nodes:EliminateDeadNodes",
        "fold-constants": "acgraph.passes.fold_constants:FoldConstants",
        "fuse-batchnorm": "acgraph.passes.fuse_batchnorm:FuseBatchnorm",
        "infer-shapes": "acgraph.passes.infer_shapes:InferShapes",
        "insert-batchnorm": "acgraph.passes.insert_batchnorm:InsertBatchnorm",
        "lift-constants": "acgraph.passes.lift_constants:LiftConstants",
        "lower-columns": "acgraph.passes.lower_columns:LowerColumns",
        "shrink-channels": "acgraph.passes.shrink_channels:ShrinkChannels",
        "untie-constants": "acgraph.passes.untie_constants:UntieConstants",
    }
)
