"""Execute notebooks and store their text outputs, without images and explorers (the site draws those when it is built).

Usage: `make notebooks` for all of them, or `python notebooks/refresh.py 02_bayesian_persuasion.ipynb ...`.
A notebook that fails keeps its old outputs, and the exit code is 1.
"""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from tqdm import tqdm

HERE = Path(__file__).resolve().parent
KEPT_METADATA = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
                 "language_info": {"name": "python"}}


def strip(notebook):
    """Keep text only: no pictures, no frames, no time stamps, nothing that differs between machines."""
    notebook.metadata = nbformat.from_dict(KEPT_METADATA)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        if "nbval-ignore-output" in cell.metadata.get("tags", []):
            cell.outputs = []
        for output in cell.outputs:
            for mime in [m for m in output.get("data", {}) if m.startswith("image/") or "widget" in m]:
                del output.data[mime]


def refresh(path):
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, coalesce_streams=True, resources={"metadata": {"path": str(HERE)}}).execute()
    strip(notebook)
    nbformat.validate(notebook)
    nbformat.write(notebook, path)


def main(names):
    paths = [HERE / Path(name).name for name in names] or sorted(HERE.glob("[0-9]*.ipynb"))
    failed = 0
    for path in tqdm(paths, unit="notebook"):
        try:
            refresh(path)
        except CellExecutionError as error:
            failed += 1
            print(f"{path.name} failed and was left as it was:\n{error}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
