"""Margins of IHF-Harmony over the other methods, beside what was asked of it beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from travelling_tables import Row, Value, cell, markdown, seed_value, selected, split

__all__ = ["CRITERIA", "margins"]

_CLOSED = (
    "histogram", "histogram-cdf", "histogram-n4", "histogram-ratio", "histogram-fit",
)  # fmt: skip
#: What ihf is to win against whom, dB, and whether the bound itself is enough.
CRITERIA = (
    ("raw", ("none",), "sharp", 4.0, True),
    ("histogram", ("histogram",), "sharp", 4.0, True),
    ("ssimh", ("ssimh",), "sharp", 4.0, True),
    ("best sharp closed form", _CLOSED, "sharp", 1.5, True),
    ("best blurred closed form", _CLOSED, "blurred", 1.5, True),
    # The input of our own network: what does the network add?
    ("closed form by tissues", ("histogram-tissue",), "sharp", 1.5, True),
    ("the same, blurred", ("histogram-tissue",), "blurred", 1.5, True),
    ("oracle", ("oracle",), "sharp", 0.0, True),
    ("cgan", ("cgan",), "sharp", 0.0, False),
    ("simix", ("simix",), "sharp", 0.0, False),
)


def margins(conditions: Mapping[str, Sequence[Row]]) -> list[str]:
    """Two tables: PSNR with criteria and verdicts, and gain-free PSNR.

    Parameters
    ----------
    conditions : mapping of title to rows of source sites
        One column each.

    Returns
    -------
    list of str
        Markdown; empty without rows of ``ihf``.
    """
    conditions = {t: p for t, p in conditions.items() if selected(p, method="ihf")}
    if not conditions:
        return []
    verdicts: list[bool] = []
    tables = {}
    for figure in ("psnr_db", "psnr_gain_free_db"):
        body = []
        for against, methods, variant, bound, reached in CRITERIA:
            judged = figure == "psnr_db"
            line = [against, *([f"{'≥' if reached else '>'} {bound:g}"] if judged else [])]
            for part in conditions.values():
                found = _margin(part, methods, variant, figure)
                if found is None:
                    line.append("–")
                    continue
                value, rival = found
                met = value[0] >= bound if reached else value[0] > bound
                text = cell(value, figure, sign=True)
                if judged:
                    verdicts.append(met)
                    text += ", met" if met else ", **missed**"
                line.append(text + (f" ({rival})" if len(methods) > 1 else ""))
            body.append(line)
        heads = ["against", *(["criterion, dB"] if judged else []), *conditions]
        tables[figure] = markdown(heads, body, words=len(heads) - len(conditions))
    return [
        "PSNR of ihf minus that of another method, dB, at the same sites and seeds; a criterion "
        "is judged by the mean over seeds. The best closed form is chosen by its mean, with the "
        f"truth known. **{sum(verdicts)} of {len(verdicts)} met**, "
        f"{len(CRITERIA) * len(conditions) - len(verdicts)} not judged (–: not run).",
        "",
        *tables["psnr_db"],
        "The same with gain-free PSNR, for which no criterion was set:",
        "",
        *tables["psnr_gain_free_db"],
    ]


def _margin(
    rows: Sequence[Row], methods: Sequence[str], variant: str, figure: str
) -> tuple[Value, str] | None:
    """Margin of ihf over the best of some methods, and which that is."""
    ours = selected(rows, method="ihf", variant="sharp")
    rivals = {m: selected(rows, method=m, variant=variant) for m in methods}
    means = {m: v[0] for m, r in rivals.items() if (v := seed_value(r, figure)) is not None}
    if not means or seed_value(ours, figure) is None:
        return None
    best = max(means, key=lambda m: means[m])
    pairs = []
    for (seed, site), part in split(ours, "seed", "site").items():
        mine = seed_value(part, figure)
        other = seed_value(selected(rivals[best], seed=seed, site=site), figure)
        if mine is not None and other is not None:
            scans = sum(row.get("scans", 1) for row in part)
            pairs.append({"seed": seed, "scans": scans, figure: mine[0] - other[0]})
    value = seed_value(pairs, figure)
    return None if value is None else (value, best)
