"""The notebooks in examples/ run from their first cell to their last, and the files keep what they printed and drew."""

import importlib.util
import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")

FOLDER = Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LARGEST = 300_000  # bytes: a clone should stay small
MACHINE = re.compile(
    r"(?<![\w.])/(home|root|tmp|work|Users|private|usr|opt|var|mnt)/|\b[A-Z]:\\\\|\bat 0x[0-9a-f]+", re.ASCII
)

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def runner():
    spec = importlib.util.spec_from_file_location("examples_run", FOLDER / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def outputs(notebook):
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def texts(notebook):
    """Whatever was printed or shown, as text."""
    for output in outputs(notebook):
        yield output.get("text", "")
        yield from (value for kind, value in output.get("data", {}).items() if kind.startswith("text/"))


def test_there_are_five_and_the_readme_names_them():
    assert len(NOTEBOOKS) == 5
    text = (FOLDER / "README.md").read_text()
    assert not [path.name for path in NOTEBOOKS if path.name not in text]


@each
def test_the_file_keeps_what_it_printed_and_drew(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "run examples/run.py"
    assert not [o for o in outputs(notebook) if o.output_type == "error" or o.get("name") == "stderr"]
    assert len(code[0].outputs) == 0, "imports are quiet"
    assert sum(bool(cell.outputs) for cell in code) >= 5
    for cell in code:
        drawn_here = any("image/png" in output.get("data", {}) for output in cell.outputs)
        assert drawn_here == ("plt.show()" in cell.source)
    assert sum(runner().pictures(notebook)) >= 1
    found = [MACHINE.search(text) for text in texts(notebook)]
    assert not any(found), found
    assert path.stat().st_size < LARGEST
    assert not [cell for cell in notebook.cells if cell.metadata], "run examples/run.py"


@each
def test_links_lead_somewhere(path):
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        for target in re.findall(r"\]\(([^)#]+)\)", cell.source) if cell.cell_type == "markdown" else []:
            assert target.startswith("http") or (FOLDER / target).exists(), target


@pytest.mark.slow
@pytest.mark.timeout(600)  # the first run compiles
@pytest.mark.filterwarnings("ignore")  # Jupyter's, about its own parts
@each
def test_it_runs_and_draws_the_same_pictures(path, tmp_path):
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    run = runner()
    done, kept = run.execute(copy, folder), nbformat.read(path, as_version=4)
    assert run.pictures(done) == run.pictures(kept)
    assert not [o.text for o in outputs(done) if o.get("name") == "stderr"]
    assert [len(cell.get("outputs", [])) for cell in done.cells] == [len(c.get("outputs", [])) for c in kept.cells]
