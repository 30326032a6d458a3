"""What benchmarks/variance.py found, as a section of docs/evidence.md: tables, a figure, and verdicts that the numbers
decide."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from page import markdown_table

from evidence.gradients import UNIFORM
from evidence.pictures import FOLDER, picture
from evidence.results import said_by
from evidence.variance_found import ORDER
from rest_verl.common.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Ends = Sequence[float]  # an estimate and the two ends of its interval
# Kinds of prediction, as the tables name them. Verdicts speak of the first.
PREDICTIONS = {"region_advantage": "V_r, A", "region": "V_r", "token_advantage": "V_t, A", "token": "V_t"}
VERDICT, FINEST = "region_advantage", "token_advantage"
BELOW, ABOVE, UNDECIDED = "below", "above", "undecided"


def section(result: dict[str, Any], folder: Path = FOLDER) -> list[str]:
    """The section as lines of Markdown; the figure goes into `folder`.

    Args:
        result: what variance.py found, and `made_by`.
        folder: of figures.
    """
    says = "Trace of the gradient's covariance over that of uniform weights, measured and predicted"
    return [
        "## Does it reduce variance?",
        "",
        said_by(result["made_by"]),
        "",
        picture(_figure(result), "evidence_variance", says, folder),
        "",
        *findings(result),
    ]


def findings(result: dict[str, Any]) -> list[str]:
    """The section without its figure."""
    plan, points = result["plan"], result["points"]
    return [
        f"From one policy and one set of {plan['prompts']} prompts, {result['batches']} independent batches of "
        f"{plan['prompts']} x {plan['n']} responses are drawn, and the policy gradient of each (all "
        f"{result['parameters']:,} parameters, in float32) is taken under every scheme. All of them see the same "
        "batches, and in each row their weights add up to the same total. The policies are those of one run of "
        f"uniform weights, after {_listing([str(point['step']) for point in points])} updates. The weights are those "
        f"of step 1 of a run of {plan['steps']} steps, where the presets stress structure; each batch stands for the "
        "first of its run.",
        "",
        "*Variance* is the trace of the gradient's covariance. *Signal to noise* is the squared length of the mean "
        "gradient over it, of one batch: weights change the mean gradient too, and this ratio is what learning sees. "
        "Both are unbiased, and given over those of uniform weights. *Cosine* is between the gradient of a batch and "
        "the mean of all other batches, under the same scheme or under uniform weights. Intervals are 95 %, from "
        "leaving out one batch at a time.",
        "",
        *markdown_table(*_comparison(points)),
        "",
        *_scheme_verdicts(result),
        "",
        "### How far V predicts it",
        "",
        "If the noise of tokens were independent and in proportion to V, the trace would be in proportion to the sum "
        "of w^2 V over tokens, or of w^2 A^2 V with the advantages A. V is exact, 1 - sum p^2 of the sampling policy: "
        "of the token (V_t) or averaged over its region at that point (V_r). In brackets: how far the prediction lies "
        "off the measured ratio.",
        "",
        *markdown_table(*_predictions(points)),
        "",
        *_prediction_verdicts(points),
        "",
        "### Regions",
        "",
        "Under uniform weights. A region's variance is that of its own part of the gradient, as a share of the whole; "
        "beside it the share that w^2 A^2 V_t predicts. The shares do not add up to one where the parts of different "
        "regions vary together.",
        "",
        *markdown_table(*_regions(points)),
        "",
        *(f"- {_order_verdict(point)}" for point in points),
        f"- {_between_verdict(points)}",
        "",
    ]


def not_held(result: dict[str, Any]) -> list[str]:
    """The schemes whose variance was not shown to be below that of uniform weights, and where the entropies of regions
    do not have the paper's order."""
    lines = [
        f"- Variance of `{name}` {_judged(found['trace'])} over all points together."
        for name, found in result["together"].items()
        if side(found["trace"]) != BELOW
    ]
    verdicts = [_order_verdict(point) for point in result["points"]]
    return lines + [f"- {verdict}" for verdict in verdicts if "**" in verdict]


def side(found: Ends | None) -> str:
    """Where a ratio lies: below 1, above, or undecided, where its interval holds 1 or it is not known."""
    if found is None or found[1] <= 1.0 <= found[2]:
        return UNDECIDED
    return ABOVE if found[0] > 1.0 else BELOW


def _comparison(points: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    head = ["updates", "right", "scheme", "variance", "signal to noise", "cosine", "cosine to uniform's mean"]
    body = []
    for point in points:
        for name, found in point["schemes"].items():
            first = [str(point["step"]), f"{100 * point['accuracy']:.0f} %"] if name == UNIFORM else ["", ""]
            ratios = (
                [f"1 ({found['trace'][0]:.3g})", f"1 ({_shown(found['snr'], 3)})"]
                if name == UNIFORM
                else [_shown(found["trace_ratio"]), _shown(found["snr_ratio"])]
            )
            body.append([*first, f"`{name}`", *ratios, _shown(found["cosine"]), _shown(found["cosine_uniform"])])
    return head, body


def _predictions(points: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    head = ["updates", "scheme", "measured", *PREDICTIONS.values()]
    body = [
        [
            str(point["step"]),
            f"`{name}`",
            _shown(found["trace_ratio"]),
            *(
                f"{found['predicted'][kind]:.2f}" + (f" ({100 * off:+.0f} %)" if off is not None else "")
                for kind in PREDICTIONS
                for off in [_error(found, kind)]
            ),
        ]
        for point in points
        for name, found in _weighted(point).items()
    ]
    return head, body


def _regions(points: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    head = ["updates", "region", "tokens", "mean entropy, nats", "mean V", "variance", "predicted"]
    body = [
        [
            str(point["step"]),
            name,
            f"{100 * found['tokens']:.1f} %",
            f"{found['entropy']:.4f}",
            f"{found['variance']:.4f}",
            _shown([100 * end for end in found["trace_share"]], 1) + " %",
            f"{100 * found['predicted_share']:.1f} %",
        ]
        for point in points
        for name, found in point["regions"].items()
    ]
    return head, body


def _scheme_verdicts(result: dict[str, Any]) -> list[str]:
    """One sentence for each scheme, on variance and on signal to noise, and one on all of them."""
    points, sides = result["points"], {}
    lines = []
    for name, found in result["together"].items():
        said = []
        for quantity, what in (("trace", "Variance"), ("snr", "Signal to noise")):
            ratios = [point["schemes"][name][f"{quantity}_ratio"] for point in points]
            each = _listing([f"{side(one)} at {point['step']}" for one, point in zip(ratios, points, strict=True)])
            sides[name, quantity] = side(found[quantity])
            said.append(f"{what} {_judged(found[quantity])} over all points together; {each}.")
        lines.append(f"- `{name}`: {' '.join(said)}")
    return [
        *lines,
        "",
        *(
            f"- {what}, at equal total weight and over all points together: "
            + "; ".join(f"{which} that of uniform weights for {_names(sides, quantity, which)}" for which in order)
            + f"; undecided for {_names(sides, quantity, UNDECIDED)}."
            for quantity, what, order in (
                ("trace", "Variance", (BELOW, ABOVE)),
                ("snr", "Signal to noise", (ABOVE, BELOW)),
            )
        ),
    ]


def _prediction_verdicts(points: Sequence[dict[str, Any]]) -> list[str]:
    """Of each scheme, how far predictions are off, and whether that from V_r names the right side of uniform."""
    lines = []
    for name in _weighted(points[0]):
        found = [point["schemes"][name] for point in points]
        off = {kind: _range([_error(one, kind) for one in found]) for kind in (VERDICT, FINEST)}
        decided = [one for one in found if side(one["trace_ratio"]) != UNDECIDED]
        right = sum((one["predicted"][VERDICT] > 1.0) == (one["trace_ratio"][0] > 1.0) for one in decided)
        inside = sum(_holds(one["trace_ratio"], one["predicted"][VERDICT]) for one in found)
        lines.append(
            f"- `{name}`: the prediction from V_r with A is off by {off[VERDICT]}; it lies inside the interval of "
            f"what was measured at {inside} of {len(found)} points, and names the right side of uniform at {right} of "
            f"the {len(decided)} where the side is decided. From V_t with A it is off by {off[FINEST]}."
        )
    return lines


def _order_verdict(point: dict[str, Any]) -> str:
    """Whether the regions' mean entropies have the paper's order: a sentence that names what each pair says."""
    pairs = list(zip(pairwise(ORDER), point["order"], strict=True))
    said = [f"{low} {_sign(found)} {high}" for (low, high), found in pairs]
    verdict = (
        "is as the paper says"
        if all(_sign(found) == "<" for _, found in pairs)
        else "is **not** as the paper says"
        if any(_sign(found) == ">" for _, found in pairs)
        else "is **undecided**"
    )
    return f"After {point['step']} updates the order of entropies ({' < '.join(ORDER)}) {verdict}: {', '.join(said)}."


def _between_verdict(points: Sequence[dict[str, Any]]) -> str:
    """How much of the variance is between regions, which no weight by region can be predicted from V."""
    shares = [1.0 - sum(found["trace_share"][0] for found in point["regions"].values()) for point in points]
    said = [f"{100 * share:+.0f} % at {point['step']}" for share, point in zip(shares, points, strict=True)]
    return (
        "What the regions' own variances leave of the whole is the covariance between them, which a prediction from V "
        f"takes for 0: {_listing(said)}."
    )


def _weighted(point: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The schemes of a point without `uniform`."""
    return {name: found for name, found in point["schemes"].items() if name != UNIFORM}


def _error(found: dict[str, Any], kind: str) -> float | None:
    """How far a prediction lies off the measured ratio, as a share of it; None where that is not known."""
    return None if found["trace_ratio"] is None else found["predicted"][kind] / found["trace_ratio"][0] - 1.0


def _holds(found: Ends | None, value: float) -> bool:
    return found is not None and found[1] <= value <= found[2]


def _sign(difference: Ends | None) -> str:
    if difference is None or difference[1] <= 0.0 <= difference[2]:
        return "?"
    return "<" if difference[0] > 0.0 else ">"


def _shown(found: Ends | None, digits: int = 2) -> str:
    if found is None:
        return "not known"
    estimate, low, high = (f"{value:.{digits}f}" for value in found)
    return f"{estimate} [{low}, {high}]"


def _judged(found: Ends | None) -> str:
    """A ratio in words."""
    if found is None:
        return f"is **{UNDECIDED}** (a signal that cannot be told from noise)"
    word = side(found) if side(found) == UNDECIDED else f"{side(found)} uniform's"
    return f"is **{word}** ({_shown(found)})"


def _names(sides: dict[tuple[str, str], str], quantity: str, which: str) -> str:
    return _listing([f"`{name}`" for (name, of), at in sides.items() if (of, at) == (quantity, which)]) or "none"


def _range(errors: Sequence[float | None]) -> str:
    known = [error for error in errors if error is not None]
    if not known:
        return "an unknown share"
    low, high = (f"{100 * error:+.0f} %" for error in (min(known), max(known)))
    return low if low == high else f"{low} to {high}"


def _listing(parts: Sequence[str]) -> str:
    return " and ".join([*([", ".join(parts[:-1])] if parts[1:] else []), *parts[-1:]])


def _figure(result: dict[str, Any]) -> Figure:
    """One panel a point: each scheme's ratio with its interval, and two predictions beside it."""
    from matplotlib.ticker import LogLocator

    points = result["points"]
    figure = new_figure(3.2 * len(points) + 0.6, 3.6)
    axes: Sequence[Axes] = figure.subplots(1, len(points), sharey=True, squeeze=False)[0]
    for axis, point in zip(axes, points, strict=True):
        schemes = _weighted(point)
        axis.axhline(1.0, color="#555555", linewidth=1)
        known = [(place, one["trace_ratio"]) for place, one in enumerate(schemes.values()) if one["trace_ratio"]]
        places, ratios = [place for place, _ in known], np.reshape([found for _, found in known], (-1, 3)).T
        spread = [ratios[0] - ratios[1], ratios[2] - ratios[0]]
        axis.errorbar(places, ratios[0], spread, fmt="o", color="#4477AA", capsize=4, label="measured")
        for kind, marker, colour, shift in ((VERDICT, "D", "#EE6677", 0.2), (FINEST, "x", "#228833", 0.35)):
            values = [one["predicted"][kind] for one in schemes.values()]
            label = f"from {PREDICTIONS[kind]}"
            axis.plot(np.arange(len(values)) + shift, values, marker, color=colour, markersize=5, label=label)
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        axis.yaxis.set_minor_formatter("{x:g}")
        axis.tick_params(which="both", labelsize=8)
        axis.set_xticks(range(len(schemes)), list(schemes), rotation=20)
        axis.set_title(f"after {point['step']} updates", fontsize=10)
        axis.grid(alpha=0.3, which="both")
    axes[0].set_ylabel("variance / that of uniform weights")
    axes[0].legend(fontsize=8)
    return figure
