"""What is not read, by its name: files and folders of other tools, and places elsewhere."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from wingbeat.checkpoints.names import few
from wingbeat.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_AS_ARRAYS: Final = "load it there and save its arrays by name with safetensors.numpy.save_file"
_UNPACK: Final = "unpack it and name the checkpoint inside"
_AGAIN: Final = "copy or download it again"
# What a file begins with → what it is, and what to do.
_BEGINNINGS: Final = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes them", _AS_ARRAYS),
    (b"GGUF", "a GGUF file of llama.cpp", "compare the checkpoint that it was made from"),
    (b"\x93NUMPY", "a single NumPy array", _AS_ARRAYS),
    (b"\x1f\x8b", "compressed with gzip", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "compressed with Zstandard", _UNPACK),
    (b"\xfd7zXZ\0", "compressed with xz", _UNPACK),
    (b"BZh", "compressed with bzip2", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _UNPACK),
    (b"<!DOCTYPE", "a web page, not the file that was to be downloaded", _AGAIN),
    (b"<!doctype", "a web page, not the file that was to be downloaded", _AGAIN),
    (b"<html", "a web page, not the file that was to be downloaded", _AGAIN),
)
# Formats without a beginning of their own: the ending of the name.
_ENDINGS: Final = (
    (re.compile(r"\.onnx$"), "an ONNX program", "compare the checkpoint that it was made from"),
    (re.compile(r"\.msgpack$"), "a msgpack file of Flax", _AS_ARRAYS),
    (re.compile(r"\.(index|data-\d+-of-\d+|pb)$"), "a part of a TensorFlow model", _AS_ARRAYS),
    (re.compile(r"\.tflite$"), "a TensorFlow Lite program", _AS_ARRAYS),
)
# What a zip archive holds → what it is, and what to do; asked in this order.
_MEMBERS: Final = (
    (re.compile(r"(^|/)constants\.pkl$|/code/"),
     "a TorchScript program, which holds code beside its weights, and no state dict",
     "torch.save(torch.jit.load(path).state_dict(), ...) where you trust it"),
    (re.compile(r"(^|/)archive_format$|^serialized_exported_program\.json$"),
     "an exported program of torch.export, and no state dict",
     "torch.save(torch.export.load(path).state_dict, ...) where you trust it"),
    (re.compile(r"(^|/)model\.weights\.h5$"), "a model of Keras", _AS_ARRAYS),
    (re.compile(r"(^|/)_stable_baselines3_version$"), "an archive of Stable-Baselines3",
     "unpack it and name its policy.pth"),
)  # fmt: skip
# What a folder holds → what it is, and what to do.
_FOLDERS: Final = (
    (("_CHECKPOINT_METADATA", "manifest.ocdbt"), "a checkpoint of Orbax (JAX)", _AS_ARRAYS),
    (("saved_model.pb", "checkpoint", "*.ckpt-*.index"), "a model of TensorFlow", _AS_ARRAYS),
    (("zero_pp_rank_*", "*_optim_states.pt"), "a checkpoint of DeepSpeed in parts",
     "put it together with its zero_to_fp32.py, and name what that writes"),
    (("latest",), "of DeepSpeed, with a folder for each checkpoint",
     "name one of the folders in it; that of the last is written in its file latest"),
    (("mp_rank_*/*.pt",), "a checkpoint of Megatron",
     "name the file in mp_rank_00 if it is alone, else put the parts together with its tools"),
)  # fmt: skip
_REMOTE: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+")
# A drive of Windows is one letter, so that two or more are a scheme.


def refuse_remote(path: str | Path) -> None:
    """Refuse an address: only files of this machine are read.

    Raises:
        RequestError: it begins with a scheme, as ``s3://`` or ``https://``.
    """
    scheme = _REMOTE.match(str(path))
    if scheme:
        # A Path has made one stroke of two.
        whole = _REMOTE.sub(rf"{scheme[1]}://", str(path), count=1)
        msg = f"{whole} is not on this machine: download it first, and give its path here"
        raise RequestError(msg)


def foreign_file(path: Path, head: bytes) -> str | None:
    """Return what a file is that no format fits, and what to do; None if that is not known.

    Args:
        path: the file.
        head: its first bytes.
    """
    if not head:
        return "is empty: it was never written to its end. Copy it again"
    if not head.strip(b"\0"):
        return "begins with nothing but zeros: its writing was cut off. Copy it again"
    for beginning, what, how in _BEGINNINGS:
        if head.startswith(beginning):
            return f"is {what}: {how}"
    for ending, what, how in _ENDINGS:
        if ending.search(path.name):
            return f"is {what}: {how}"
    return f"is a tar archive: {_UNPACK}" if _is_tar(path) else None


def foreign_archive(members: Sequence[str]) -> str | None:
    """Return what a zip archive is that ``torch.save`` did not write; None if it may have."""
    if members and all(name.endswith(".npy") for name in members):
        how = "save its arrays as tensors, with safetensors.numpy.save_file"
        return f"is a NumPy archive (.npz), and no state dict: {how}"
    for pattern, what, how in _MEMBERS:
        if any(pattern.search(name) for name in members):
            return f"is {what}: {how}"
    if members and not any(name.rpartition("/")[2] == "data.pkl" for name in members):
        return f"is a zip archive of other files ({few(list(members))}): {_UNPACK}"
    return None


def foreign_folder(folder: Path) -> str:
    """Return what a folder holds, that is not opened as one checkpoint, and what to do."""
    for names, what, how in _FOLDERS:
        if any(next(folder.glob(name), None) for name in names):
            return f"is {what}: {how}"
    inside = sorted(folder.iterdir())
    parts = [("the folders", [p.name for p in inside if p.is_dir()])]
    parts += [("the files", [p.name for p in inside if not p.is_dir()])]
    shown = " and ".join(f"{what} {few(names)}" for what, names in parts if names)
    return f"holds {shown or 'nothing'}, and no checkpoint of a usual name: name the file itself"


def _is_tar(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(257)  # where POSIX.1-1988 puts the magic of a header
        return file.read(5) == b"ustar"
