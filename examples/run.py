"""Execute the notebooks in place, so that they keep what they print and draw: ``python examples/run.py [FILE ...]``.

Each runs from its first cell to its last in a fresh kernel, in an empty folder. What changes from run to run (times, the
machine's Python) is left out of the file, so that the difference to the last run is what the results differ in.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def notebooks() -> list[Path]:
    """All of them, in the order in which they are read."""
    return sorted(FOLDER.glob("*.ipynb"))


def execute(path: Path, folder: str | Path) -> nbformat.NotebookNode:
    """The notebook at `path` with the outputs of a fresh kernel that runs in `folder`.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        When a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    environment["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"  # pictures go into the notebook
    environment.setdefault("OMP_NUM_THREADS", "1")  # sums in one order: the same digits again
    client = NotebookClient(
        notebook,
        timeout=300,
        extra_arguments=["--IPKernelApp.log_level=40"],  # it warns of TCP, which is to this machine alone
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env=environment)
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({})
    nbformat.validate(notebook)
    return notebook


def pictures(notebook: nbformat.NotebookNode) -> list[int]:
    """How many images the outputs of each code cell hold."""
    return [
        sum("image/png" in output.get("data", {}) for output in cell.outputs)
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def main(names: list[str]) -> None:
    for path in [Path(name) for name in names] or notebooks():
        begun = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            notebook = execute(path, folder)
        nbformat.write(notebook, path)
        seconds, size = time.perf_counter() - begun, path.stat().st_size / 1000
        print(f"{path.name}: {seconds:.0f} s, {size:.0f} kB, {sum(pictures(notebook))} pictures")


if __name__ == "__main__":
    main(sys.argv[1:])
