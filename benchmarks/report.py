"""Rows of ratios as the text of results.md."""

Row = dict[str, str | float]


def as_text(
    rows: list[Row],
    breakdowns: list[str],
    sizes: list[str],
    about: dict[str, str | int | float],
) -> str:
    """Return the whole of results.md."""

    def shown(row: Row) -> str:
        times = str(row["what"]).startswith(("whole", "units"))
        value = f"{row['ratio']:.2f}×" if times else f"{float(row['ratio']):.2%}"
        cells = (row["network"], row["what"], value, row["wanted"], row.get("note", ""))
        return "| " + " | ".join(str(cell) for cell in cells) + " |"

    return "\n".join(
        [
            "# Benchmarks",
            "",
            "Every number is a ratio, taken in one run in which the candidates took turns: the",
            "median over rounds of the ratio within a round. An epoch is extrapolated from a few",
            "timed steps of 128 images: 60,000 images of MNIST, 50,000 of CIFAR-10.",
            "`make bench` writes this file.",
            "",
            "; ".join(f"{key}: {value}" for key, value in about.items()),
            "",
            "| network | what | ratio | wanted | |",
            "| --- | --- | --- | --- | --- |",
            *map(shown, rows),
            "",
            "Where a pruned training step goes, by torch's profiler (each operation itself,",
            "without what it calls):",
            "",
            *breakdowns,
            "",
            "Trained for 200 steps, then pruned at once by magnitude: the network with its zeros →",
            "the network that `infcop_lite.compact` makes of it. Latency: one image at a time.",
            "",
            *sizes,
            "",
        ]
    )
