"""Images: the bundled digits, small files in the formats of MNIST and CIFAR-10, and damage."""

import gzip
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from stlcore.data import MissingDataError
from stlcore.data import images as module
from stlcore.data.images import celeba, cifar10, digits, mnist, open_images, pictures


def idx(array):
    """An array of bytes as an idx file."""
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(np.uint8).tobytes()


PIXELS = np.arange(5 * 28 * 28).reshape(5, 28, 28) % 256
LABELS = np.array([3, 0, 9, 1, 1])


@pytest.fixture
def mnist_folder(tmp_path):
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(PIXELS), mtime=0))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(LABELS))
    return tmp_path


@pytest.fixture
def cifar_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CIFAR_IMAGES", 2)
    rng = np.random.default_rng(1)
    for i in range(1, 6):
        records = rng.integers(0, 256, (2, 3073), dtype=np.uint8)
        records[:, 0] = (i, i + 1)
        (tmp_path / f"data_batch_{i}.bin").write_bytes(records.tobytes())
    return tmp_path


def test_digits_are_the_bundled_ones():
    found = digits()
    assert found.pixels.shape == (1797, 8, 8)
    assert found.table.shape == (1797, 64)
    assert (found.pixels.min(), found.pixels.max()) == (0, 1)
    assert np.bincount(found.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert found.sha256 == digits().sha256
    assert found.licence
    assert "scikit-learn" in found.source
    # The first image is a zero: dark inside.
    assert found.labels[0] == 0
    assert found.pixels[0, 3:5, 3:5].max() < 0.2 < found.pixels[0].max()


def test_mnist_is_read_with_and_without_compression(mnist_folder):
    found = mnist(mnist_folder)
    np.testing.assert_array_equal(found.pixels * 255, PIXELS)
    np.testing.assert_array_equal(found.labels, LABELS)
    (mnist_folder / "train-images-idx3-ubyte.gz").unlink()
    (mnist_folder / "train-images-idx3-ubyte").write_bytes(idx(PIXELS))
    assert mnist(mnist_folder).sha256 == found.sha256
    (mnist_folder / "train-images-idx3-ubyte").rename(mnist_folder / "train-images.idx3-ubyte")
    assert mnist(mnist_folder).sha256 == found.sha256  # as other mirrors spell it
    (mnist_folder / "train-images-idx3-ubyte").write_bytes(idx(255 - PIXELS))
    assert mnist(mnist_folder).sha256 != found.sha256


def test_missing_mnist_says_how_to_get_it(mnist_folder):
    with pytest.raises(MissingDataError, match=r"no t10k-images-idx3-ubyte .* download"):
        mnist(mnist_folder, "test")
    with pytest.raises(MissingDataError, match="download"):
        mnist(mnist_folder / "nowhere")
    with pytest.raises(ValueError, match="'train' or 'test'"):
        mnist(mnist_folder, "valid")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("train-images-idx3-ubyte.gz", gzip.compress(idx(PIXELS), mtime=0)[:-20], "damaged"),
        ("train-images-idx3-ubyte.gz", b"<html>not found</html>", "damaged"),
        (
            "train-images-idx3-ubyte.gz",
            gzip.compress(idx(PIXELS)[:-1], mtime=0),
            "promises 3920 bytes",
        ),
        ("train-images-idx3-ubyte.gz", gzip.compress(idx(LABELS), mtime=0), "no idx file"),
        ("train-images-idx3-ubyte.gz", gzip.compress(b"", mtime=0), "no idx file"),
        ("train-labels-idx1-ubyte", idx(LABELS[:4]), "5 images but 4 labels"),
        ("train-labels-idx1-ubyte", idx(LABELS + 8), "label 17"),
        ("train-labels-idx1-ubyte", idx(LABELS[:0]), "damaged"),
    ],
)
def test_damaged_mnist_is_named(mnist_folder, name, content, sentence):
    (mnist_folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=sentence):
        mnist(mnist_folder)


def test_cifar_has_channels_last_and_the_files_in_order(cifar_folder):
    found = cifar10(cifar_folder)
    assert found.pixels.shape == (10, 32, 32, 3)
    assert found.labels.tolist() == [1, 2, 2, 3, 3, 4, 4, 5, 5, 6]
    raw = np.fromfile(cifar_folder / "data_batch_2.bin", np.uint8)
    # Third image of the set: red pixels come first in its record, then green, then blue.
    assert (found.pixels[2, 0, 1] * 255).tolist() == [raw[1 + 1 + c * 1024] for c in range(3)]


def test_missing_and_damaged_cifar_is_named(cifar_folder):
    with pytest.raises(MissingDataError, match=r"no test_batch.bin .*cifar-10-binary"):
        cifar10(cifar_folder, "test")
    file = cifar_folder / "data_batch_3.bin"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match="has 6145"):
        cifar10(cifar_folder)
    file.write_bytes(bytes([77]) + whole[1:])
    with pytest.raises(ValueError, match="label 77"):
        cifar10(cifar_folder)


# --- CelebA -------------------------------------------------------------------------------


@pytest.fixture
def celeba_folder(tmp_path):
    """Five images as the set's authors and torchvision lay them out, one of them for testing."""
    image = pytest.importorskip("PIL.Image")
    home = tmp_path / "img_align_celeba"
    home.mkdir()
    x, y = np.meshgrid(np.arange(178), np.arange(218))
    for k in range(1, 6):  # red from left to right, green from top to bottom
        face = np.stack([x, y, np.full_like(x, 40 * k)], axis=-1).astype(np.uint8)
        image.fromarray(face).save(home / f"{k:06}.jpg", quality=100, subsampling=0)
    parts = "".join(f"{k:06}.jpg {part}\n" for k, part in enumerate("00120", start=1))
    (tmp_path / "list_eval_partition.txt").write_text(parts)
    return tmp_path


def test_celeba_is_faces_cut_out_and_reduced(celeba_folder):
    found = celeba(celeba_folder)
    assert found.pixels.shape == (3, 32, 32, 3)
    places = np.arange(32)
    expected = np.empty((32, 32, 3))
    # 4 x 4 pixels from column 25 and row 57 on: their mean lies between the second and the third.
    expected[..., 0], expected[..., 1] = 26.5 + 4 * places, 58.5 + 4 * places[:, None]
    for face, blue in zip(found.pixels * 255, (40, 80, 200), strict=True):
        expected[..., 2] = blue
        np.testing.assert_allclose(face, expected, atol=2)  # what jpg loses
    assert celeba(celeba_folder, "test").pixels[0, 0, 0, 2] * 255 == pytest.approx(160, abs=2)


def test_celeba_is_the_same_in_a_zip_file_and_as_kaggle_has_it(celeba_folder):
    whole, home = celeba(celeba_folder), celeba_folder / "img_align_celeba"
    inner = celeba_folder / "inner"
    home.rename(inner)
    with zipfile.ZipFile(home.with_suffix(".zip"), "w") as archive:
        for file in inner.iterdir():
            archive.write(file, f"{home.name}/{file.name}")
    assert celeba(celeba_folder).sha256 == whole.sha256
    home.mkdir()
    inner.rename(home / home.name)
    parts = celeba_folder / "list_eval_partition.txt"
    lines = ["image_id,partition", *parts.read_text().replace(" ", ",").splitlines()]
    parts.with_suffix(".csv").write_text("\n".join(lines))
    parts.unlink()
    assert celeba(celeba_folder).sha256 == whole.sha256
    part = open_images("celeba", celeba_folder, most=2, rng=np.random.default_rng(1))
    places = np.sort(np.random.default_rng(1).permutation(3)[:2])
    np.testing.assert_array_equal(part.pixels, whole.pixels[places])


def test_missing_and_damaged_celeba_is_named(celeba_folder):
    home, parts = celeba_folder / "img_align_celeba", celeba_folder / "list_eval_partition.txt"
    (home / "000002.jpg").write_bytes((home / "000002.jpg").read_bytes()[:400])
    with pytest.raises(ValueError, match=r"000002\.jpg is broken"):
        celeba(celeba_folder)
    from PIL import Image

    Image.new("RGB", (178, 178)).save(home / "000002.jpg")
    with pytest.raises(ValueError, match=r"000002\.jpg has shape \(178, 178, 3\)"):
        celeba(celeba_folder)
    (home / "000002.jpg").unlink()
    with pytest.raises(MissingDataError, match=r"no .*000002\.jpg: download"):
        celeba(celeba_folder)
    home.rename(celeba_folder / "away")
    home.with_suffix(".zip").write_bytes(b"<html>too many downloads</html>")
    with pytest.raises(ValueError, match=r"img_align_celeba\.zip is damaged"):
        celeba(celeba_folder)
    parts.write_text("000001.jpg\n")
    with pytest.raises(ValueError, match="names no image"):
        celeba(celeba_folder)
    parts.unlink()
    with pytest.raises(MissingDataError, match=r"no list_eval_partition\.txt .* download"):
        celeba(celeba_folder)


# --- folders of image files, and sets by name -----------------------------------------------


@pytest.fixture
def pictures_folder(tmp_path):
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(1)
    for k in range(4):
        image.fromarray(rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)).save(tmp_path / f"{k}.png")
    return tmp_path


def test_pictures_are_read_in_the_order_of_their_names(pictures_folder):
    found = pictures(pictures_folder)
    assert found.pixels.shape == (4, 6, 5, 3)
    expected = np.random.default_rng(1).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    np.testing.assert_allclose(found.pixels[0] * 255, expected)
    assert not found.labels.any()


def test_pictures_that_do_not_fit_are_refused(pictures_folder):
    from PIL import Image

    Image.new("L", (5, 6)).save(pictures_folder / "grey.png")
    with pytest.raises(ValueError, match=r"grey\.png \(6, 5\)"):
        pictures(pictures_folder)
    (pictures_folder / "grey.png").write_bytes(b"\x89PNG and no more")
    with pytest.raises(ValueError, match=r"grey\.png is broken"):
        pictures(pictures_folder)


def test_a_folder_without_pictures_is_named(tmp_path):
    with pytest.raises(MissingDataError, match="no png or jpg"):
        pictures(tmp_path)
    with pytest.raises(MissingDataError, match="there is no folder"):
        pictures(tmp_path / "nowhere")


def test_a_set_by_its_name_and_a_part_of_it(mnist_folder, cifar_folder):
    whole = open_images("digits")
    part = open_images("digits", most=7, rng=np.random.default_rng(1))
    assert part.pixels.shape == (7, 8, 8)
    places = [int(np.flatnonzero((whole.table == row).all(axis=1))[0]) for row in part.table]
    np.testing.assert_array_equal(part.labels, whole.labels[places])
    assert open_images("mnist", mnist_folder).pixels.shape == (5, 28, 28)
    assert open_images("cifar10", cifar_folder).pixels.shape == (10, 32, 32, 3)


def test_a_part_is_drawn_before_pixels_become_numbers(tmp_path):
    """2000 images are 1.6 MB as bytes, twice that while they are read, and 6.3 MB as numbers."""
    pixels = np.random.default_rng(1).integers(0, 256, (2000, 28, 28), dtype=np.uint8)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(pixels))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.arange(2000) % 10))
    tracemalloc.start()
    try:
        found = open_images("mnist", tmp_path, most=50, rng=np.random.default_rng(1))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.pixels.dtype == np.float32
    assert most < 3.5e6
    places = np.sort(np.random.default_rng(1).permutation(2000)[:50])
    np.testing.assert_allclose(found.pixels * 255, pixels[places], rtol=1e-6)
    assert found.sha256 == mnist(tmp_path).sha256


def test_of_a_folder_only_the_part_is_read(pictures_folder):
    (pictures_folder / "0.png").write_bytes(b"no image")
    seeds = range(100)
    seed = next(s for s in seeds if 0 not in np.random.default_rng(s).permutation(4)[:2])
    rng = np.random.default_rng(seed)
    assert open_images("folder", pictures_folder, most=2, rng=rng).pixels.shape == (2, 6, 5, 3)
    with pytest.raises(ValueError, match=r"0\.png is broken"):
        open_images("folder", pictures_folder, most=4)


def test_a_name_or_a_folder_that_is_missing_is_said():
    with pytest.raises(ValueError, match="must be digits"):
        open_images("faces")
    with pytest.raises(MissingDataError, match="needs a folder"):
        open_images("mnist")
    with pytest.raises(ValueError, match="to choose 7 of 1797 images takes a generator"):
        open_images("digits", most=7)
