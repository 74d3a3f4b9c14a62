"""The peer of `benchmarks.serugcl`: the same training step in PyTorch Geometric, in a process of its own.

Written as one would for speed in that framework: everything is vectorised over the batch, the normalisation of GCN
is computed once per view, the subgraph really loses its nodes. Forms of aggregation:

    edge_index       gather and scatter-add, PyTorch Geometric's usual way
    sparse           its fused sparse matrix product, over CSR tensors of torch
    dense            its DenseGINConv and DenseGCNConv, over adjacency matrices (GCN normalises in each layer)
    ..._compiled     encoders, pooling and head of the form under torch.compile

Draws are the peer's own. Before it is timed, a form must give our projections of the same graphs.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric import utils
from torch_geometric.data import Batch, Data
from torch_geometric.nn import DenseGCNConv, DenseGINConv, GCNConv, GINConv
from torch_geometric.nn.conv.gcn_conv import gcn_norm

from sercl_jax.models.serugcl import Knobs, SerugclSettings

from . import serugcl_ours, torch_step


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


class Peer(torch_step.TorchStep):
    """The training step in one of its forms, with its own model and optimizer."""

    def __init__(self, form: str, settings: SerugclSettings, knobs: Knobs, reference: dict[str, np.ndarray],
                 batches: list[dict[str, np.ndarray]], device: torch.device, imported: int):
        self.form, _, compiled = form.partition(torch_step.COMPILED)
        self.settings, self.knobs, self.device = settings, knobs, device
        self.dense, features = self.form == "dense", batches[0]["x"].shape[-1]
        self.head = nn.Sequential(nn.Linear(settings.layers * settings.hidden, settings.projection), nn.ReLU(),
                                  nn.Linear(settings.projection, settings.projection))
        self.projectors = nn.ModuleDict({
            kind: Projector(Encoder(kind, features, settings.hidden, settings.layers, self.dense), self.head,
                            knobs.pool_weights)
            for kind in settings.kinds})
        copy_parameters(serugcl_ours.nested(reference, "params"), self.projectors, self.head)
        self.projectors.to(device)
        self._project: dict[str, Any] = dict(self.projectors)
        placed = torch_step.place((batch["x"] for batch in batches), device)
        with torch_step.exact():
            agreement = torch_step.check(self.form, self._differences(reference))
        if compiled:
            # The gradient in X retains the graph, which excludes reusing its buffers. Edges differ in number from
            # step to step: with dynamic=False each number would be compiled anew.
            torch._functorch.config.donated_buffer = False
            self._project = {kind: torch.compile(projector) for kind, projector in self.projectors.items()}
        super().__init__(
            self._loss, torch.optim.Adam(self.projectors.parameters(), lr=serugcl_ours.LEARNING_RATE, fused=True),
            placed, len(placed),  # torch.compile needs several batches to settle
            {"agreement": agreement, "edges_per_graph": edges_per_graph(placed, settings.neighbours),
             "imported": imported})

    def _differences(self, reference: dict[str, np.ndarray]) -> dict[str, float]:
        """Of each encoder's projections of the original graphs from ours, relative, of equal parameters."""
        x, found = torch.from_numpy(reference["x"]).to(self.device), {}
        with torch.no_grad():
            data = batch_of(x, nearest_neighbours(x, self.settings.neighbours), self.dense)
            for kind in self.settings.kinds:
                ours = torch.from_numpy(reference[f"projection/{kind}"])
                mine = self.project(kind, data, len(x), "float32").cpu()
                found[kind] = float((mine - ours).norm() / ours.norm())
        return found

    def project(self, kind: str, data: Data, graphs: int, precision: str) -> Tensor:
        edges, weight = self.prepare(kind, data)
        with torch_step.autocast(self.device, precision):
            return self._project[kind](data.x, edges, weight, data.batch, graphs)

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

    def _loss(self, x: Tensor) -> Tensor:
        settings, knobs = self.settings, self.knobs
        original, fgsm, subgraph = settings.encoders

        def project(kind: str, data: Data) -> Tensor:
            return self.project(kind, data, len(x), settings.dtype)

        with torch.no_grad():
            joined = nearest_neighbours(x, settings.neighbours)
            data = batch_of(x.detach(), joined, self.dense)  # what is made to require a gradient is no batch
            kept = random_walk_nodes(joined, knobs.node_ratio)
            rows = torch.arange(len(x), device=x.device)[:, None]
            smaller = joined[rows[..., None], kept[:, :, None], kept[:, None, :]]
            sample = batch_of(x[rows, kept], perturb(smaller, knobs.edge_ratio), self.dense)
        data.x.requires_grad_()
        z_subgraph = project(subgraph, sample)
        z_original = project(original, data)
        loss = nt_xent([z_original, z_subgraph.detach()], knobs.temperature)
        slope, = torch.autograd.grad(loss, data.x, retain_graph=True)
        adversary = data.clone()
        adversary.x = data.x.detach() + knobs.fgsm_eps * slope.sign()
        z_fgsm = project(fgsm, adversary)
        return nt_xent([z_original, z_fgsm, z_subgraph], knobs.temperature)


def edges_per_graph(batches: list[Tensor], neighbours: int) -> float:
    """Directed edges of an original graph, on average."""
    with torch.no_grad():
        return float(np.mean([nearest_neighbours(x, neighbours).sum().item() / len(x) for x in batches]))


def copy_parameters(params: Mapping[str, Any], projectors: nn.ModuleDict, head: nn.Module) -> None:
    """Starts the peer from our parameters, so that their outputs can be compared."""
    fill = torch_step.fill

    def dense(linear: Any, ours: Mapping[str, Any], bias: Any = None) -> None:
        fill(linear.weight, np.array(ours["kernel"]).T)
        fill(linear.bias if bias is None else bias, ours["bias"])

    for kind, projector in projectors.items():
        ours = params[f"encoders_{kind}"]
        name = "GinLayer" if kind == "gin" else "GcnLayer"
        for layer, (convolution, norm) in enumerate(
                zip(projector.encoder.convolutions, projector.encoder.norms, strict=True)):
            weights, scale = ours[f"{name}_{layer}"], ours[f"LayerNorm_{layer}"]
            if kind == "gin":
                fill(convolution.eps, np.reshape(weights["eps"], tuple(convolution.eps.shape)))
                dense(convolution.nn[0], weights["Dense_0"])
                dense(convolution.nn[2], weights["Dense_1"])
            else:
                dense(convolution.lin, weights["Dense_0"], convolution.bias)
            fill(norm.weight, scale["scale"])
            fill(norm.bias, scale["bias"])
    dense(head[0], params["head"]["Dense_0"])
    dense(head[2], params["head"]["Dense_1"])


def make(form: str, keep_freed: bool, threads: int, precision: str, platform: str, batch: int, nodes: int,
         reference: str) -> Peer:
    """A warm side for `pairs`: the step in one of its forms.

    Args:
      form: of aggregation.
      keep_freed, threads, platform: see `torch_step.begin`.
      precision: "float32" or "bfloat16".
      batch, nodes: utterances, and frames of each.
      reference: the file that `serugcl_ours.make` stored.
    """
    device, imported = torch_step.begin(platform, threads, keep_freed)
    with np.load(reference) as stored:
        arrays = {name: stored[name] for name in stored}
    return Peer(form, SerugclSettings(dtype=precision), Knobs(), arrays, serugcl_ours.batches(batch, nodes), device,
                imported)
