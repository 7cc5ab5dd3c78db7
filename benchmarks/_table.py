"""The table that benchmarks of the web server print: a figure, and the limit it is held to."""


def show_head() -> None:
    print(f"{'':<64}{'figure':>12}{'limit':>10}", flush=True)


def show(what: str, figure: float, *, limit: str = "") -> None:
    print(f"{what:<64}{figure:>12,.2f}{limit:>10}".rstrip(), flush=True)
