"""Fixtures: the shared folder of real inputs, and small models."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import timm
import torch
from matplotlib.figure import Figure
from torch import nn

from vitol.datasets.images import TrainImages

ROOT = Path(__file__).parent.parent
Draw = tuple[int, int, tuple[int, int, bool]]
GOLDEN = Path(__file__).parent / "data"

if "PYTEST_XDIST_WORKER" in os.environ:  # as many workers as cores, so each has one; children inherit it
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Until the `with` is left no file can grow past so many bytes, as on a disk that is full."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limit[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)


def drawn_by(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that a module draws from here on, which are then not written."""
    kept: list[Figure] = []
    monkeypatch.setattr(module, "save_png", lambda figure, path: kept.append(figure))
    return kept


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and golden outputs; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("VITOL_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no shared folder at {folder} (set VITOL_SHARED)")
    return folder


@pytest.fixture(scope="session")
def training_draws() -> list[Draw]:
    """Epoch, image and crop of every training image that the stages saw when they ran for `project`, in order."""
    return []


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory, training_draws: list[Draw]) -> Path:
    """A folder with a tiny data set and params.yaml in which every stage has run but the notebooks."""
    from pipeline import lay_out, run_all  # every stage's imports, which most tests do without

    folder = tmp_path_factory.mktemp("project")
    params = lay_out(folder, ROOT)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        draw = TrainImages.draw

        def spy(images: TrainImages, index: int) -> tuple[int, int, bool]:
            training_draws.append((images.epoch, index, draw(images, index)))
            return training_draws[-1][2]

        patch.setattr(TrainImages, "draw", spy)
        run_all(params)
    return folder


@pytest.fixture
def vit() -> nn.Module:
    """A small vision transformer in float64 with a 4 x 4 grid, weights that make attention uneven."""
    torch.manual_seed(0)
    model = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=3, num_classes=5
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return model.double().eval()


@pytest.fixture
def images() -> torch.Tensor:
    """Four random images for `vit`, (4, 3, 32, 32)."""
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.fixture(scope="session")
def golden_maps() -> dict[str, np.ndarray]:
    """Outputs of the original implementations on fixed inputs, one image at a time, float64."""
    with np.load(GOLDEN / "maps.npz", allow_pickle=False) as file:
        return dict(file)
