"""Writes tests/fixtures/pickles: small files of torch.save, and what the tensors in them are.

Run from anywhere: python make_pickle_fixtures.py. Needs torch and safetensors (see make_fixtures.py for versions).

    bert.bin         state dict of fixtures/bert-plain, output embedding tied to the input embedding, as PyTorch saves it
    bert-legacy.bin  the same without an archive, as PyTorch did before 1.6
    types.bin        every type of number, and views: transposed, sliced, scalar, empty, wrapped in "state_dict"
    types.safetensors  the same tensors, each contiguous
    system.bin       an archive whose program would run a command
"""

import io
import zipfile
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

FIXTURES = Path(__file__).parent / "fixtures"
HERE = FIXTURES / "pickles"


def bert():
    """The weights of bert-plain as a module has them, with the tied names that a state dict repeats."""
    state = OrderedDict(sorted(load_file(FIXTURES / "bert-plain" / "model.safetensors").items()))
    state["cls.predictions.decoder.weight"] = state["bert.embeddings.word_embeddings.weight"]
    state["cls.predictions.decoder.bias"] = state["cls.predictions.bias"]
    state["bert.embeddings.position_ids"] = torch.arange(4).expand((1, -1))
    state._metadata = OrderedDict({"": {"version": 1}, "bert": {"version": 1}})
    return state


def types():
    """Tensors whose numbers do not lie row by row, in every type."""
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6) / 8 - 1
    return OrderedDict(
        plain=base,
        transposed=base.t(),
        slice=base[1:3, 2:5],
        column=base[:, 3],
        scalar=base[2, 2],
        empty=torch.zeros(0, 3),
        parameter=torch.nn.Parameter(base + 1),
        half=base.half(),
        bfloat=base.bfloat16(),
        double=base.double() / 3,
        long=torch.tensor([-(2**40), 7]),
        int=torch.tensor([-5, 6], dtype=torch.int32),
        short=torch.tensor([-5, 6], dtype=torch.int16),
        char=torch.tensor([-5, 6], dtype=torch.int8),
        byte=torch.tensor([5, 250], dtype=torch.uint8),
        bool=torch.tensor([True, False]),
    )


def main():
    """Writes everything."""
    HERE.mkdir(exist_ok=True)
    torch.save(bert(), HERE / "bert.bin")
    torch.save(bert(), HERE / "bert-legacy.bin", _use_new_zipfile_serialization=False)
    torch.save({"epoch": 3, "lr": 0.5, "state_dict": types(), "note": "x"}, HERE / "types.bin")
    rows = {name: value.detach().contiguous().clone() for name, value in types().items()}
    rows["double"] = rows["double"].float()
    save_file(rows, HERE / "types.safetensors")
    program = b"\x80\x02cos\nsystem\nq\x00X\x04\x00\x00\x00trueq\x01\x85q\x02Rq\x03."
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as out:
        out.writestr(zipfile.ZipInfo("archive/data.pkl"), program)
        out.writestr(zipfile.ZipInfo("archive/version"), b"3\n")
    (HERE / "system.bin").write_bytes(archive.getvalue())


if __name__ == "__main__":
    main()
