"""The peer of `benchmarks.serugcl`: the same training step in PyTorch Geometric, in a process of its own.

Written as one would for speed in that framework: everything is vectorised over the batch, the normalisation of GCN
is computed once per view, the subgraph really loses its nodes. Four forms of aggregation are timed:

    edge_index    gather and scatter-add, PyTorch Geometric's usual way
    sparse        its fused sparse matrix product, over CSR tensors of torch
    dense         its DenseGINConv and DenseGCNConv, over adjacency matrices (GCN normalises in each layer)
    compiled      edge_index under torch.compile
"""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric import utils
from torch_geometric.data import Batch, Data
from torch_geometric.nn import DenseGCNConv, DenseGINConv, GCNConv, GINConv
from torch_geometric.nn.conv.gcn_conv import gcn_norm

from sercl_jax import memory
from sercl_jax.errors import UserError
from sercl_jax.models.serugcl import Knobs, SerugclSettings

from . import serugcl_ours


class Encoder(nn.Module):
    """GIN or GCN layers, each followed by LayerNorm and ReLU; all outputs side by side."""

    def __init__(self, kind: str, features: int, hidden: int, layers: int, dense: bool):
        super().__init__()
        self.weighted = kind == "gcn" and not dense
        widths = [features] + [hidden] * (layers - 1)
        if kind == "gin":
            gin = DenseGINConv if dense else GINConv
            self.convolutions = nn.ModuleList(
                gin(nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, hidden)), train_eps=True)
                for width in widths)
        elif dense:
            self.convolutions = nn.ModuleList(DenseGCNConv(width, hidden) for width in widths)
        else:
            self.convolutions = nn.ModuleList(GCNConv(width, hidden, normalize=False) for width in widths)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden, eps=1e-6) for _ in widths)

    def forward(self, x: Tensor, edges: Tensor, weight: Tensor | None) -> Tensor:
        """Nodes [V, F] and edges, a list [2, E] or a sparse [V, V], -> [V, layers * hidden].

        In the dense form nodes [B, N, F] and edges [B, N, N] -> [B, N, layers * hidden].
        """
        outputs = []
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = convolution(x, edges, weight) if self.weighted else convolution(x, edges)
            x = norm(x).relu()
            outputs.append(x)
        return torch.cat(outputs, -1)


class Projector(nn.Module):
    """Encoder, weighted pooling and the projection head."""

    def __init__(self, encoder: Encoder, head: nn.Module, pool_weights: tuple[float, ...]):
        super().__init__()
        self.encoder, self.head, self.pool_weights = encoder, head, pool_weights

    def forward(self, x: Tensor, edges: Tensor, weight: Tensor | None, graph: Tensor, graphs: int) -> Tensor:
        """`graph` [V] numbers each node's graph; returns [graphs, projection]."""
        h = self.encoder(x, edges, weight).float()
        if h.ndim == 3:
            highest, mean, soft = h.amax(1), h.mean(1), (h.softmax(1) * h).sum(1)
            return self.read(highest, mean, soft)
        highest = utils.scatter(h, graph, 0, graphs, "max")
        mean = utils.scatter(h, graph, 0, graphs, "mean")
        soft = utils.scatter(utils.softmax(h, graph, num_nodes=graphs) * h, graph, 0, graphs, "sum")
        return self.read(highest, mean, soft)

    def read(self, highest: Tensor, mean: Tensor, soft: Tensor) -> Tensor:
        return self.head(self.pool_weights[0] * highest + self.pool_weights[1] * mean + self.pool_weights[2] * soft)


def nearest_neighbours(x: Tensor, k: int) -> Tensor:
    """[B, N, F] -> [B, N, N] bool: cosine k nearest neighbours, undirected, without self-loops."""
    unit = nn.functional.normalize(x, dim=-1)
    similarity = unit @ unit.mT
    similarity.diagonal(dim1=1, dim2=2).fill_(-torch.inf)
    joined = torch.zeros_like(similarity, dtype=torch.bool)
    joined.scatter_(2, similarity.topk(min(k, x.shape[1] - 1), sorted=False).indices, True)
    return joined | joined.mT


def random_walk_nodes(joined: Tensor, ratio: float) -> Tensor:
    """Grows a part of each graph at random; the kept nodes in ascending order, [B, round(ratio N)]."""
    b, n, _ = joined.shape
    size = max(round(ratio * n), 1)
    rows = torch.arange(b, device=joined.device)
    draws = torch.rand(size, b, n, device=joined.device)
    weight = joined.to(draws.dtype)
    preference = torch.zeros(b, n, device=joined.device)  # neighbours of what is kept come first
    kept = torch.zeros(b, n, device=joined.device)
    for draw in draws:
        chosen = (draw + preference + kept).argmax(-1)
        preference = torch.maximum(preference, weight[rows, chosen])
        kept[rows, chosen] = -4
    return kept.lt(0).nonzero()[:, 1].view(b, size)


def perturb(joined: Tensor, ratio: float) -> Tensor:
    """Replaces round(ratio * edges) undirected edges of each graph by random others."""
    n = joined.shape[1]
    upper = torch.triu_indices(n, n, 1, device=joined.device)
    edge = joined[:, upper[0], upper[1]]
    wanted = (ratio * edge.sum(1, keepdim=True)).round().long()
    most = int(wanted.max())
    draw = torch.rand(edge.shape, device=joined.device)
    counts = torch.arange(most, device=joined.device) < wanted
    dropped = draw.masked_fill(~edge, 2).topk(most, largest=False).indices
    added = draw.masked_fill(edge, 2).topk(most, largest=False).indices
    edge = edge.scatter(1, dropped, edge.gather(1, dropped) & ~counts).scatter(
        1, added, edge.gather(1, added) | counts)
    half = torch.zeros_like(joined)
    half[:, upper[0], upper[1]] = edge
    return half | half.mT


def edge_list(joined: Tensor) -> Tensor:
    """[B, N, N] -> [2, E], nodes numbered through the batch and sorted by receiver."""
    graph, receiver, sender = joined.nonzero(as_tuple=True)
    first = graph * joined.shape[1]
    return torch.stack((first + sender, first + receiver))


def batch_of(x: Tensor, joined: Tensor, dense: bool) -> Data:
    """One `Data` of all graphs, as a loader's collation makes it; [B, N, F] and `adj` [B, N, N] in the dense form."""
    if dense:
        return Data(x=x, adj=joined.float())
    b, n, f = x.shape
    return Batch(x=x.reshape(b * n, f), edge_index=edge_list(joined),
                 batch=torch.arange(b, device=x.device).repeat_interleave(n))


def nt_xent(views: list[Tensor], temperature: float) -> Tensor:
    """Symmetric, over all pairs of views."""
    units = [nn.functional.normalize(z, dim=-1) for z in views]
    target = torch.arange(len(units[0]), device=units[0].device)
    losses = []
    for i, a in enumerate(units):
        for b in units[i + 1:]:
            logits = a @ b.T / temperature
            losses += [nn.functional.cross_entropy(logits, target), nn.functional.cross_entropy(logits.T, target)]
    return torch.stack(losses).mean()


class Peer:
    """The training step in one of its forms, with its own model and optimizer."""

    def __init__(self, form: str, settings: SerugclSettings, knobs: Knobs, params: Mapping[str, Any],
                 batches: list[dict[str, np.ndarray]], device: str, learning_rate: float):
        self.form, self.settings, self.knobs, self.device = form, settings, knobs, torch.device(device)
        self.dense, features = form == "dense", batches[0]["x"].shape[-1]
        self.head = nn.Sequential(nn.Linear(settings.layers * settings.hidden, settings.projection), nn.ReLU(),
                                  nn.Linear(settings.projection, settings.projection))
        self.projectors = nn.ModuleDict({
            kind: Projector(Encoder(kind, features, settings.hidden, settings.layers, self.dense), self.head,
                            knobs.pool_weights)
            for kind in settings.kinds})
        copy_parameters(params, self.projectors, self.head)
        self.projectors.to(self.device)
        self.optimizer = torch.optim.Adam(self.projectors.parameters(), lr=learning_rate)
        self.warm_up_seconds, self.loss = 0.0, float("nan")
        self.batches = [torch.from_numpy(batch["x"]).to(self.device) for batch in batches]
        self._project: dict[str, Any] = dict(self.projectors)
        if form == "compiled":
            # The gradient in X retains the graph, which excludes reusing its buffers. Edges differ in number from
            # step to step: with dynamic=False each number would be compiled anew.
            torch._functorch.config.donated_buffer = False
            self._project = {kind: torch.compile(projector) for kind, projector in self.projectors.items()}

    def project(self, kind: str, data: Data) -> Tensor:
        edges, weight = self.prepare(kind, data)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.dtype == "bfloat16"):
            return self._project[kind](data.x, edges, weight, data.batch, len(self.batches[0]))

    def prepare(self, kind: str, data: Data) -> tuple[Tensor, Tensor | None]:
        """Edges as the encoder takes them, with GCN's normalisation."""
        if self.dense:
            return data.adj, None
        nodes = len(data.x)
        edges, weight = data.edge_index, None
        if kind == "gcn":
            edges, weight = gcn_norm(edges, None, nodes)
        if self.form == "sparse":
            return utils.to_torch_csr_tensor(edges, weight, size=(nodes, nodes)), None
        return edges, weight

    def __call__(self, repeat: int) -> None:
        x, settings, knobs = self.batches[repeat % len(self.batches)], self.settings, self.knobs
        original, fgsm, subgraph = settings.encoders
        with torch.no_grad():
            joined = nearest_neighbours(x, settings.neighbours)
            data = batch_of(x, joined, self.dense)
            kept = random_walk_nodes(joined, knobs.node_ratio)
            rows = torch.arange(len(x), device=x.device)[:, None]
            smaller = joined[rows[..., None], kept[:, :, None], kept[:, None, :]]
            sample = batch_of(x[rows, kept], perturb(smaller, knobs.edge_ratio), self.dense)
        data.x.requires_grad_()
        z_subgraph = self.project(subgraph, sample)
        z_original = self.project(original, data)
        loss = nt_xent([z_original, z_subgraph.detach()], knobs.temperature)
        slope, = torch.autograd.grad(loss, data.x, retain_graph=True)
        adversary = data.clone()
        adversary.x = data.x.detach() + knobs.fgsm_eps * slope.sign()
        z_fgsm = self.project(fgsm, adversary)
        loss = nt_xent([z_original, z_fgsm, z_subgraph], knobs.temperature)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        self.loss = float(loss.detach())

    def edges_per_graph(self) -> float:
        """Directed edges of an original graph, on average."""
        with torch.no_grad():
            return float(np.mean([nearest_neighbours(x, self.settings.neighbours).sum().item() / len(x)
                                  for x in self.batches]))

    def facts(self) -> dict[str, Any]:
        """For the JSON."""
        return {"warm_up_seconds": self.warm_up_seconds, "loss": self.loss, "edges_per_graph": self.edges_per_graph()}


def copy_parameters(params: Mapping[str, Any], projectors: nn.ModuleDict, head: nn.Module) -> None:
    """Starts the peer from our parameters, so that their outputs can be compared."""
    def dense(linear: Any, ours: Mapping[str, Any], bias: Any = None) -> None:
        linear.weight.copy_(torch.from_numpy(np.array(ours["kernel"]).T))
        (linear.bias if bias is None else bias).copy_(torch.from_numpy(np.array(ours["bias"])))

    with torch.no_grad():
        for kind, projector in projectors.items():
            ours = params[f"encoders_{kind}"]
            name = "GinLayer" if kind == "gin" else "GcnLayer"
            for layer, (convolution, norm) in enumerate(
                    zip(projector.encoder.convolutions, projector.encoder.norms, strict=True)):
                weights, scale = ours[f"{name}_{layer}"], ours[f"LayerNorm_{layer}"]
                if kind == "gin":
                    convolution.eps.fill_(float(weights["eps"]))
                    dense(convolution.nn[0], weights["Dense_0"])
                    dense(convolution.nn[2], weights["Dense_1"])
                else:
                    dense(convolution.lin, weights["Dense_0"], convolution.bias)
                norm.weight.copy_(torch.from_numpy(np.array(scale["scale"])))
                norm.bias.copy_(torch.from_numpy(np.array(scale["bias"])))
        dense(head[0], params["head"]["Dense_0"])
        dense(head[2], params["head"]["Dense_1"])


def make(form: str, keep_freed: bool, threads: int, precision: str, platform: str, batch: int, nodes: int,
         parameters: str) -> Peer:
    """A warm side for `pairs`: the step in one of its forms, from the parameters that `serugcl_ours.make` stored.

    Args:
      form: of aggregation.
      keep_freed: whether the process keeps freed memory, as our training does.
      threads: of torch.
      precision: "float32" or "bfloat16".
      platform: JAX's name of the device: "cpu" or "gpu".
      batch, nodes: utterances, and frames of each.
      parameters: the file.
    """
    if platform == "tpu" or (platform == "gpu" and not torch.cuda.is_available()):
        raise UserError(f"--peer torch: this PyTorch cannot compute on a {platform}; "
                        "choose --device cpu, or leave the peer out.")
    if keep_freed:
        memory.keep_freed()
    torch.set_num_threads(threads)
    start = time.perf_counter()
    peer = Peer(form, SerugclSettings(dtype=precision), Knobs(), serugcl_ours.load_parameters(parameters),
                serugcl_ours.batches(batch, nodes), "cuda" if platform == "gpu" else platform,
                serugcl_ours.LEARNING_RATE)
    for repeat in range(len(peer.batches)):  # torch.compile needs several batches to settle
        peer(repeat)
    peer.warm_up_seconds = time.perf_counter() - start
    return peer
