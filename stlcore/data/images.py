"""Images: digits that come with scikit-learn; MNIST, CIFAR-10, CelebA and others from files."""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from stlcore.checks import check_count
from stlcore.data.corpus import MissingDataError
from stlcore.lazy import extra

__all__ = ["Images", "celeba", "cifar10", "digits", "mnist", "open_images", "pictures"]

PARTS = ("train", "test")
MNIST_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
PICTURE_ENDINGS = (".png", ".jpg", ".jpeg")
CIFAR_FILES = {
    "train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
    "test": ("test_batch.bin",),
}
CIFAR_IMAGES = 10_000  # in each file
CIFAR_BYTES = 1 + 3 * 32 * 32  # a label, then the red, green and blue pixels
CELEBA_LISTS = ["list_eval_partition.txt", "list_eval_partition.csv"]
CELEBA_PARTS = {"train": "0", "test": "2"}  # in its list; 1 is for validation
CELEBA_SHAPE = (218, 178, 3)
FACE = slice(57, 185), slice(25, 153)  # rows and columns of a square around the face


@dataclass(frozen=True, eq=False)
class Images:
    """Images with labels, and what a reader must know about them.

    Attributes
    ----------
    name : str
        Short name.
    pixels : ndarray of float32, shape (N, height, width) or (N, height, width, 3)
        Brightness from 0 to 1.
    labels : ndarray of int, shape (N,)
        Classes from 0 up.
    source : str
        Where they come from, with versions.
    licence : str
        Under which terms.
    sha256 : str
        Checksum of pixels and labels as bytes, as they are in the files; of a part of a set in
        one file that of the whole set.
    """

    name: str
    pixels: np.ndarray
    labels: np.ndarray
    source: str
    licence: str
    sha256: str

    @property
    def table(self) -> np.ndarray:
        """One image in each row, shape (N, pixels)."""
        return self.pixels.reshape(len(self.pixels), math.prod(self.pixels.shape[1:]))


def digits(*, choose: Callable | None = None) -> Images:
    """1797 handwritten digits of 8 x 8 pixels, bundled with scikit-learn.

    Parameters
    ----------
    choose : callable, optional
        Which of them to keep: places in a set of so many images.
    """
    with extra("images"):
        from sklearn.datasets import load_digits

    bunch = load_digits()
    return _images(
        "digits",
        bunch.images.astype(np.uint8),
        bunch.target,
        brightest=16,
        choose=choose,
        source=f"scikit-learn {version('scikit-learn')}: the test set of UCI's Optical "
        "Recognition of Handwritten Digits (E. Alpaydin and C. Kaynak, 1998)",
        licence="CC BY 4.0",
    )


def mnist(
    folder: str | os.PathLike,
    part: str = "train",
    *,
    choose: Callable | None = None,
) -> Images:
    """Handwritten digits of 28 x 28 pixels: 60,000 for training, 10,000 for testing.

    Parameters
    ----------
    folder : path-like
        Holds the images and labels in the idx format, as they are or with ``.gz``; both
        spellings, ``train-images-idx3-ubyte`` and ``train-images.idx3-ubyte``, are known.
        Nothing is downloaded.
    part : {"train", "test"}
        Which of the two sets.
    choose : callable, optional
        Which images to keep: places in a set of so many.

    Raises
    ------
    MissingDataError
        If a file is not there; the message says how to get it.
    ValueError
        If a file is damaged, or the part is unknown.
    """
    _check_part(part)
    pixels, labels = (
        _idx(_find(folder, _spellings(name), _GET_MNIST), axes)
        for name, axes in zip(MNIST_FILES[part], (3, 1), strict=True)
    )
    if len(pixels) != len(labels):
        raise ValueError(f"MNIST has {len(pixels)} images but {len(labels)} labels in {folder}")
    return _images(
        f"MNIST ({part})",
        pixels,
        labels,
        brightest=255,
        choose=choose,
        source="Y. LeCun, C. Cortes and C. J. C. Burges, from NIST's special databases 1 and 3",
        licence="CC BY-SA 3.0",
    )


def cifar10(
    folder: str | os.PathLike,
    part: str = "train",
    *,
    choose: Callable | None = None,
) -> Images:
    """Colour photographs of 32 x 32 pixels in 10 classes: 50,000 and 10,000.

    Parameters
    ----------
    folder : path-like
        Holds the files of the *binary version*, ``data_batch_1.bin`` and so on. The Python
        version is a pickle, which can run any code, and is not read. Nothing is downloaded.
    part : {"train", "test"}
        Which of the two sets.
    choose : callable, optional
        Which images to keep: places in a set of so many.

    Raises
    ------
    MissingDataError
        If a file is not there; the message says how to get it.
    ValueError
        If a file is damaged, or the part is unknown.
    """
    _check_part(part)
    files = [_find(folder, [name], _GET_CIFAR) for name in CIFAR_FILES[part]]
    records = np.concatenate([_cifar_records(file) for file in files])
    return _images(
        f"CIFAR-10 ({part})",
        records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1),
        records[:, 0],
        brightest=255,
        choose=choose,
        source="A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009)",
        licence="none stated by its authors",
    )


def celeba(
    folder: str | os.PathLike,
    part: str = "train",
    *,
    choose: Callable | None = None,
) -> Images:
    """Photographs of faces, 162,770 and 19,962, brought from 178 x 218 to 32 x 32 pixels.

    Parameters
    ----------
    folder : path-like
        Holds ``img_align_celeba``, a folder or a zip file, and ``list_eval_partition.txt``; or
        what Kaggle's archive of the set unpacks to, where the list ends in csv. Nothing is
        downloaded.
    part : {"train", "test"}
        Which of the two sets.
    choose : callable, optional
        Which images to read: places in a set of so many; the others are not looked at.

    Raises
    ------
    MissingDataError
        If the list or an image is not there; the message says how to get them.
    ValueError
        If a file is damaged or of another size, or the part is unknown.

    Notes
    -----
    The square of 128 pixels around the face is cut out, and each 4 x 4 of its pixels are
    averaged. There are no classes: every label is 0.
    """
    _check_part(part)
    names = _celeba_names(_find(folder, CELEBA_LISTS, _GET_CELEBA), CELEBA_PARTS[part])
    if choose is not None:
        names = [names[place] for place in choose(len(names))]
    home = _celeba_home(Path(folder))
    faces = []
    for name in names:
        if not (file := home / name).is_file():
            raise MissingDataError(f"there is no {file}: {_GET_CELEBA}")
        pixels = _picture(file)
        if pixels.shape != CELEBA_SHAPE:
            raise ValueError(f"{file} has shape {pixels.shape}, in CelebA it is {CELEBA_SHAPE}")
        face = pixels[FACE].reshape(32, 4, 32, 4, 3).mean(axis=(1, 3))
        faces.append(face.round().astype(np.uint8))
    return _images(
        f"CelebA ({part})",
        np.stack(faces),
        np.zeros(len(faces)),
        brightest=255,
        source="Z. Liu, P. Luo, X. Wang and X. Tang, Deep Learning Face Attributes in the Wild "
        "(2015); faces cut out and reduced",
        licence="for research that is not commercial",
    )


def pictures(folder: str | os.PathLike, *, choose: Callable | None = None) -> Images:
    """Image files of one size, all grey or all in colour, in the order of their names.

    Parameters
    ----------
    folder : path-like
        Holds files ending in png, jpg or jpeg.
    choose : callable, optional
        Which files to read: places in a list of so many; the others are not looked at.

    Raises
    ------
    MissingDataError
        If there is no such folder, or no such file in it.
    ValueError
        If a file is broken, or the sizes or colours differ.

    Notes
    -----
    There are no classes: every label is 0.
    """
    if not Path(folder).is_dir():
        raise MissingDataError(f"there is no folder {folder}")
    files = sorted(f for f in Path(folder).glob("*") if f.suffix.lower() in PICTURE_ENDINGS)
    if not files:
        raise MissingDataError(f"there is no png or jpg file in the folder {folder}")
    if choose is not None:
        files = [files[place] for place in choose(len(files))]
    arrays: list[np.ndarray] = []
    for file in files:
        array = _picture(file)
        if arrays and array.shape != arrays[0].shape:
            raise ValueError(
                f"all images must have one size and be all grey or all in colour, but "
                f"{files[0].name} has shape {arrays[0].shape} and {file.name} {array.shape}"
            )
        arrays.append(array)
    return _images(
        f"pictures in {Path(folder).name}",
        np.stack(arrays),
        np.zeros(len(arrays)),
        brightest=255,
        source=f"{len(files)} files of a folder of one's own",
        licence="unknown",
    )


def open_images(
    name: str,
    folder: str | os.PathLike = "",
    *,
    most: int | None = None,
    rng: np.random.Generator | None = None,
) -> Images:
    """A set of images by its name.

    Parameters
    ----------
    name : {"digits", "mnist", "cifar10", "celeba", "folder"}
        The last reads image files (:func:`pictures`).
    folder : path-like
        Where the files are; not for digits.
    most : int, optional
        Use a random part of that many images if there are more.
    rng : numpy.random.Generator, optional
        Chooses them.

    Raises
    ------
    MissingDataError, ValueError
        As the readers do, and if the name is unknown or a folder is missing.
    """
    readers = {"mnist": mnist, "cifar10": cifar10, "celeba": celeba, "folder": pictures}
    if most is not None:
        check_count("the images used", most)

    def part_of(count: int) -> np.ndarray:
        if most is None or count <= most:
            return np.arange(count)
        if rng is None:
            raise ValueError(f"to choose {most} of {count} images takes a generator, rng")
        return np.sort(rng.permutation(count)[:most])

    if name == "digits":
        return digits(choose=part_of)
    if name not in readers:
        raise ValueError(f"the data must be digits, {', '.join(readers)}, not {name!r}")
    if not str(folder):
        raise MissingDataError(f"{name} needs a folder that holds its files")
    return readers[name](folder, choose=part_of)


_GET_MNIST = (
    "download train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz "
    "and t10k-labels-idx1-ubyte.gz from https://ossci-datasets.s3.amazonaws.com/mnist/ into it"
)
_GET_CIFAR = (
    "download https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz, unpack it, and give "
    "its folder cifar-10-batches-bin"
)
_GET_CELEBA = (
    "download img_align_celeba.zip and list_eval_partition.txt from "
    "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html into it"
)


def _images(name, pixels, labels, *, brightest: int, choose=None, **about):
    labels = labels.astype(np.uint8)
    if labels.max() > 9:
        raise ValueError(f"{name} is damaged: label {labels.max()} is beyond the 10 classes")
    checksum = hashlib.sha256(np.ascontiguousarray(pixels))
    checksum.update(labels)
    if choose is not None:  # while they are bytes: as numbers they take four times the memory
        part = choose(len(pixels))
        pixels, labels = pixels[part], labels[part]
    return Images(
        name,
        np.ascontiguousarray(pixels) / np.float32(brightest),
        labels.astype(np.int64),
        sha256=checksum.hexdigest(),
        **about,
    )


def _check_part(part: str) -> None:
    if part not in PARTS:
        raise ValueError(f"the part must be 'train' or 'test', not {part!r}")


def _spellings(name: str) -> list[str]:
    """Names under which mirrors hand out a file of MNIST."""
    dotted = ".idx".join(name.rsplit("-idx", 1))
    return [name, f"{name}.gz", dotted, f"{dotted}.gz"]


def _find(folder: str | os.PathLike, names: list[str], how_to_get: str) -> Path:
    for name in names:
        if (file := Path(folder) / name).is_file():
            return file
    raise MissingDataError(f"there is no {names[0]} in {folder}: {how_to_get}")


def _idx(file: Path, axes: int) -> np.ndarray:
    """An array of bytes in the idx format: a magic number, the lengths, the entries."""
    content = file.read_bytes()
    if file.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{file} is damaged, download it again: {error}") from None
    head = 4 * (1 + axes)
    if len(content) < head or content[:4] != bytes([0, 0, 8, axes]):
        raise ValueError(f"{file} is no idx file of bytes with {axes} axes: download it again")
    shape = struct.unpack(f">{axes}I", content[4:head])
    if 0 in shape or len(content) - head != math.prod(shape):
        raise ValueError(
            f"{file} is damaged, download it again: it promises {math.prod(shape)} bytes and "
            f"has {len(content) - head}"
        )
    return np.frombuffer(content, np.uint8, offset=head).reshape(shape)


def _cifar_records(file: Path) -> np.ndarray:
    content = np.fromfile(file, np.uint8)
    if content.size != CIFAR_IMAGES * CIFAR_BYTES:
        raise ValueError(
            f"{file} is damaged, download it again: it should have "
            f"{CIFAR_IMAGES * CIFAR_BYTES} bytes and has {content.size}"
        )
    return content.reshape(-1, CIFAR_BYTES)


def _celeba_names(file: Path, part: str) -> list[str]:
    """The images of a part; a line of the list has a name and a part, with a blank or a comma."""
    lines = file.read_text(encoding="utf-8", errors="replace").replace(",", " ").splitlines()
    names = [line.split()[0] for line in lines if line.split()[1:] == [part]]
    if not names:
        raise ValueError(f"{file} is damaged, download it again: it names no image of part {part}")
    return names


def _celeba_home(folder: Path) -> Path | zipfile.Path:
    """Where its images are: in a folder, in Kaggle's folder in a folder, or in a zip file."""
    home = folder / "img_align_celeba"
    if (home / home.name).is_dir():
        return home / home.name
    if home.is_dir() or not (archive := home.with_suffix(".zip")).is_file():
        return home
    try:
        return zipfile.Path(archive, f"{home.name}/")
    except zipfile.BadZipFile as error:
        raise ValueError(f"{archive} is damaged, download it again: {error}") from None


def _picture(file: Path | zipfile.Path) -> np.ndarray:
    """The bytes of an image file, grey or in colour."""
    with extra("images"):
        from PIL import Image

    try:
        with file.open("rb") as stream, Image.open(stream) as image:
            grey = image.mode in ("1", "L", "LA", "I;16")
            return np.asarray(image.convert("L" if grey else "RGB"))
    except (OSError, SyntaxError, zipfile.BadZipFile) as error:
        raise ValueError(f"{file} is broken, or no image: {error}") from None
