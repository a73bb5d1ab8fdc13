"""The page on images runs on every kind of data it names: tiny files in the genuine formats."""

import gzip
import struct

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from stlcore.data import images
from stlcore.pages.repository import ROOT
from stlcore.pages.runner import find_page
from stlcore.streams import stream

TINY = {
    "steps": 2, "batch": 4, "width": 8, "components": 4, "generations": 2, "repetitions": 2,
    "sampler_steps": 2, "most": 48,
}  # fmt: skip


def idx(array):
    """An array of bytes as an idx file."""
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(np.uint8).tobytes()


def write_mnist(folder):
    rng = stream(1, "mnist")
    pixels, labels = rng.integers(0, 256, (64, 28, 28)), np.arange(64) % 2
    for name, array in (("images-idx3", pixels), ("labels-idx1", labels)):
        (folder / f"train-{name}-ubyte.gz").write_bytes(gzip.compress(idx(array), mtime=0))


def write_cifar(folder):
    rng = stream(1, "cifar")
    for i in range(1, 6):
        records = rng.integers(0, 256, (images.CIFAR_IMAGES, images.CIFAR_BYTES), dtype=np.uint8)
        records[:, 0] = np.arange(len(records)) % 2
        (folder / f"data_batch_{i}.bin").write_bytes(records.tobytes())


def write_pictures(folder):
    """Grey ones, as small as convolutions can be had: their cost grows with the pixels."""
    for i, pixels in enumerate(stream(1, "pictures").integers(0, 256, (64, 10, 8))):
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i:03}.png")


def write_celeba(folder):
    (folder / "img_align_celeba").mkdir()
    names = [f"{i:06}.jpg" for i in range(1, 61)]
    for name, color in zip(names, stream(1, "celeba").integers(0, 256, (60, 3)), strict=True):
        face = Image.linear_gradient("L").resize((178, 218)).convert("RGB")
        face.paste(tuple(color.tolist()), (60, 80, 120, 160))
        face.save(folder / "img_align_celeba" / name)
    parts = "".join(f"{name} {i // 50}\n" for i, name in enumerate(names))
    (folder / "list_eval_partition.txt").write_text(parts)


@pytest.mark.parametrize(
    ("data", "write", "profile", "score"),
    [
        ("mnist", write_mnist, "quick", "Denoiser"),
        ("cifar10", write_cifar, "quick", "Denoiser"),
        ("celeba", write_celeba, "quick", "Denoiser"),
        ("folder", write_pictures, "paper", "ConvolutionalDenoiser"),
    ],
)
def test_the_page_runs_on(data, write, profile, score, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(images, "CIFAR_IMAGES", 16)  # in place of 10,000 in a file
    write(tmp_path)
    given = {**TINY, "data": data, "folder": str(tmp_path), "profile": profile}
    namespace = {}
    with mpl.rc_context({"backend": "agg"}):
        for cell in find_page("b08").notebook.cells:
            if cell.cell_type == "code":
                exec(cell.source, namespace)
                if "parameters" in cell.metadata.get("tags", []):
                    namespace |= given
    assert type(namespace["trained"]).__name__ == score
    frame = namespace["frame"]
    assert set(frame["cycle"]) == set(namespace["cycles"])
    assert np.isfinite(frame.select_dtypes("number")).all(axis=None)
    assert f"measures-{data}" in namespace["page"].results, "the kept run of the digits stays"
    claim, control = namespace["page"].claims.rows  # nothing but the bound is claimed here
    assert (claim.verdict, control.verdict) == ("reproduced", "not reproduced")
