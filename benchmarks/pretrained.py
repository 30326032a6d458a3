"""A pretrained language model at several points of its training: how sure it is in each region, and how noisy its
policy gradient is under GRPO, the paper's weights, entropy_adaptive and credit by span.

Each point is a folder of examples/real_model_cpu.sh, given as NAME=FOLDER: the model before its supervised start,
after it, and after training. Entropies are taken of given texts, ToolRL's right answers, which are the same at every
point, and of the model's own responses. Gradients (evidence/language_model.py) are those of batches of 4 questions
with 4 responses each, with respect to the last `--layers` layers: all would take minutes a batch on two cores. Each
batch is a piece of its own, so the study resumes where it stopped.

- *variance*: the trace of the gradient's covariance, over GRPO's;
- *signal to noise*: |mean gradient|^2 over the variance, over GRPO's;
- *efficiency*: E<g, g'> / sqrt(E|g|^2) with g' GRPO's gradient of another batch, over the same of GRPO: how far a step
  of given length moves along GRPO's mean gradient. It counts a bias as a loss, which signal to noise does not.

Written down before the first run:
- H1: The paper's order of entropies (format < name < args < think) holds at no point: before any training names are
  surer than format, and afterwards the name follows from the reasoning and is the surest of all.
- H2: THINK has the highest entropy of the regions of a call at every point, and most of the tokens.
- H3: The signal to noise of one batch is below 0.1 under GRPO: learning is limited by noise.
- H4: `paper` and `entropy_adaptive` lower the variance here, unlike in the toy, since most tokens are reasoning of
  high entropy, from which they take weight at the first step; what they gain in signal to noise is undecided.
- H5: `credit` has at least 1.1 times GRPO's efficiency after the start, and the gain is in NAME and ARGS.
- H6: THINK holds more than half of GRPO's variance.

    python benchmarks/pretrained.py before=runs/models/SmolLM2-135M-Instruct.Q4_1 \\
        start=runs/real-model/start-rlla-40 --rows runs/real-model/train.parquet --traces rlla_sft.json
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import numpy as np
import pyarrow.parquet as pq
import typer
from evidence.intervals import mean_interval, ratio_interval
from evidence.language_model import (
    BUCKETS,
    CREDIT,
    GROUP,
    GRPO,
    PROMPTS,
    REGIONS,
    SCHEMES,
    Point,
    entropies_of_traces,
    gradient_batch,
    short_texts,
    with_sketch,
)
from evidence.noise import inner_products, interval, log_ratio, order_found, ratio_verdict, signal, snr, trace
from harness import Fresh, Out, Publish, Study, seeds, table
from page_numbers import shown

TEXTS = "texts"  # the piece of a point that has the entropies of given texts


def efficiency(own: np.ndarray, cross: np.ndarray, grpo: np.ndarray) -> float:
    """How far a step of given length moves along GRPO's mean gradient, over the same of GRPO; all are (R, R)."""
    along, grpos = ((one.sum() - one.trace()) for one in (cross, grpo))
    return float(along / grpos * np.sqrt(grpo.trace() / own.trace()))


def gradients_found(products: np.ndarray) -> dict[str, Any]:
    """What the inner products (K, K, R, R) of a point's gradients say: of each scheme against GRPO, and by region."""
    own = {name: products[index, index] for index, name in enumerate((*SCHEMES, *vectors()))}
    grpo, clear = own[GRPO], interval(signal, own[GRPO]).low > 0
    schemes: dict[str, Any] = {}
    regions: dict[str, Any] = {}
    for index, name in enumerate(SCHEMES):
        ratios = {
            kind: ratio_verdict([log_ratio(of, own[name], grpo)]) for kind, of in (("trace", trace), ("snr", snr))
        }
        found = interval(efficiency, own[name], products[index, 0], grpo).verdict(of=1.0) if clear else None
        schemes[name] = {"own_snr": interval(snr, own[name]).ends(), **ratios, "efficiency": found}
    for region in REGIONS:
        part = own[f"{GRPO} {region}"]
        if part.any():
            share = interval(lambda one, whole: trace(one) / trace(whole), part, grpo).ends()
            both = {name: own[f"{name} {region}"] for name in (GRPO, CREDIT)}
            of_both = {name: interval(snr, one).ends() if one.any() else None for name, one in both.items()}
            regions[region] = {"share": share, **of_both}
    return {"schemes": schemes, "regions": regions}


def vectors() -> list[str]:
    """Names of the first rows of a kept batch."""
    return [f"{name} {region}" for name in (GRPO, CREDIT) for region in REGIONS]


def with_sums(kept: np.ndarray) -> np.ndarray:
    """A kept batch with GRPO's and credit's whole gradients, in the order of `SCHEMES` and `vectors`."""
    parts = kept[: 2 * len(REGIONS)].reshape(2, len(REGIONS), -1)
    return np.concatenate([parts.sum(axis=1), kept[2 * len(REGIONS) :], kept[: 2 * len(REGIONS)]])


def entropies_found(pieces: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean entropy by region with intervals over texts or batches, and whether it rises as the paper says."""
    of: list[Any] = [
        SimpleNamespace(tokens=np.array(one["tokens"]), entropy=np.array(one["entropy"])) for one in pieces
    ]
    regions: dict[str, Any] = {}
    for index, region in enumerate(REGIONS):
        if there := [one for one in of if one.tokens[index]]:
            pairs = [[getattr(one, name)[index] for one in there] for name in ("entropy", "tokens")]
            regions[region] = {**ratio_interval(*pairs).ends(), "tokens": int(sum(pairs[1]))}
    pairs_of_order = order_found(of)
    sides = [pair["verdict"] if pair else "undecided" for pair in pairs_of_order.values()]
    verdict = "does not hold" if "below" in sides else "undecided" if "undecided" in sides else "holds"
    return {"regions": regions, "pairs": pairs_of_order, "order": verdict}


def findings(study: Study) -> dict[str, Any]:
    """Verdicts and tables of all points that have pieces."""
    entropies: dict[str, Any] = {}
    noise: dict[str, Any] = {}
    for name in dict.fromkeys(key.split("/")[0] for key in study.pieces):
        own = {key.split("/")[1]: piece for key, piece in study.pieces.items() if key.startswith(f"{name}/")}
        if texts := own.pop(TEXTS, None):
            entropies[f"{name}, given texts"] = entropies_found(texts)
        if len(own) > 2:
            entropies[f"{name}, own responses"] = entropies_found(list(own.values()))
            kept = [with_sums(np.load(study.path.parent / name / f"{place}.npy")) for place in own]
            means = {of: mean_interval([one[of] for one in own.values()]).ends() for of in ("acc", "legal", "score")}
            noise[name] = {"batches": len(own), **means, **gradients_found(inner_products(kept))}
    return {"verdicts": {"entropies": entropies, "noise": noise}, "tables": tables(entropies, noise)}


def tables(entropies: Mapping[str, Any], noise: Mapping[str, Any]) -> dict[str, Any]:
    """Entropies, schemes and regions as the page shows them."""
    order = ("format", "name", "args", "think", "response", "other")
    first = [
        [of, *(shown(one["regions"].get(region), ".2f") for region in order), one["order"]]
        for of, one in entropies.items()
    ]
    second = [
        [
            of,
            f"`{name}`",
            shown(at["own_snr"], ".3f"),
            *(shown(at[kind], ".2f") for kind in ("trace", "snr", "efficiency")),
        ]
        for of, one in noise.items()
        for name, at in one["schemes"].items()
    ]
    third = [
        [of, region, *(shown(at[kind], form) for kind, form in (("share", ".2f"), (GRPO, ".3f"), (CREDIT, ".3f")))]
        for of, one in noise.items()
        for region, at in one["regions"].items()
    ]
    return {
        "entropies": table(["nats", *order, "paper's order"], first),
        "schemes": table(
            ["point", "scheme", "its signal to noise", "variance", "signal to noise", "efficiency"], second
        ),
        "regions": table(["point", "region", "share of the variance", "signal to noise", "with credit"], third),
    }


def main(
    points: Annotated[list[str], typer.Argument(help="NAME=FOLDER of each model.")],
    rows: Annotated[Path | None, typer.Option(help="Questions to respond to: a parquet file of the example.")] = None,
    traces: Annotated[Path | None, typer.Option(help="JSON list with instruction, input and output of texts.")] = None,
    texts: Annotated[int, typer.Option(min=3, help="Number of texts; the first that are short enough.")] = 40,
    batches: Annotated[int, typer.Option(min=3, help="Batches of gradients at each point.")] = 24,
    layers: Annotated[int, typer.Option(min=1, help="Number of last layers whose gradients are taken.")] = 4,
    format: Annotated[str, typer.Option(help="Wire format of the models.")] = "rlla",
    device: Annotated[str, typer.Option(help="What the models run on: cpu or cuda.")] = "cpu",
    out: Out = Path("runs/pretrained"),
    fresh: Fresh = False,
    publish: Publish = False,
) -> None:
    """Measure entropies and gradients of a pretrained model."""
    plan = {"prompts": PROMPTS, "group": GROUP, "layers": layers, "format": format, "buckets": BUCKETS}
    study = Study("pretrained", plan, out, fresh=fresh, device=device if device != "cpu" else "")
    models = {
        name: Point(Path(folder), format, device, layers) for name, _, folder in (one.partition("=") for one in points)
    }
    for name, point in models.items():
        if traces is not None:
            chosen = short_texts(point, json.loads(traces.read_text()), texts)
            study.run({f"{name}/{TEXTS}": partial(entropies_of_traces, point, chosen)})
        if rows is not None:
            asked, folder = pq.read_table(rows).to_pylist(), study.path.parent / name
            folder.mkdir(parents=True, exist_ok=True)
            loaded = cache(partial(with_sketch, point))
            work = {
                f"{name}/{place}": partial(gradient_batch, point, loaded, asked, seed, folder / f"{place}.npy")
                for place, seed in enumerate(seeds(batches, 0))
            }
            study.run(work)
    study.finish(findings(study), publish)


if __name__ == "__main__":
    typer.run(main)
