"""llama.cpp's own server in a process of its own, with a model that is written here: real inference, known counts.

The tokens of its vocabulary are the bytes, four controls and the words of `SAID`. Its embeddings are one-hot, and its
output makes each word follow the one before, so that every answer is `SAID`, in a token a word and one for the end. The
server ends when its standard input does, so also when the process that started it was killed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Self

import httpx2

MODEL: Final = "tiny"
SAID: Final = " Real tokens from a tiny model, counted by the server that made them."
WORDS: Final = tuple(re.findall(r" ?\w+|[,.]", SAID))
CONTEXT: Final = 4_096  # tokens of one slot
MISSING: Final = "" if find_spec("xllamacpp") and find_spec("gguf") else "xllamacpp has no wheel for this platform"
"""Why there is no such server here; the dev extra installs it wherever there is a wheel of it."""
_ROLES: Final = ("system", "user", "assistant")
_CONTROLS: Final = (*(f"<|{role}|>" for role in _ROLES), "<|end|>")
_TEMPLATE: Final = (
    "{% for turn in messages %}<|{{ turn['role'] }}|>{{ turn['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_WIDTH, _HEADS, _FEED = 384, 6, 128  # the width is more than there are tokens
_SHARP: Final = 2.0  # a word's logit is about 39 above all others, which no temperature below 2 evens out


def prompt_tokens(*turns: str) -> int:
    """Return what a conversation counts: its bytes, and the controls around each turn, before all, and at the end."""
    return sum(len(text.encode()) + 2 for text in turns) + 2


class Llama:
    """The server: `with Llama(folder) as llama`, at `llama.url`."""

    def __init__(self, folder: Path) -> None:
        self.model = folder / "tiny.gguf"
        write_model(self.model)

    def __enter__(self) -> Self:
        code = f"from servers.llama import serve; serve({str(self.model)!r})"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        assert self.url.startswith("http://127.0.0.1:"), "llama.cpp's server did not start"
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()

    def counts(self) -> tuple[int, int]:
        """Return the tokens that the server says it has read and written since it began, when it is idle."""
        for _ in range(1_000):
            found = self._metrics()
            if not found["requests_processing"]:
                return int(found["prompt_tokens_total"] + found["prompt_tokens_cached_total"]), int(
                    found["tokens_predicted_total"]
                )
            time.sleep(0.01)
        raise AssertionError("llama.cpp's server is busy without end")

    def _metrics(self) -> dict[str, float]:
        with httpx2.Client(trust_env=False) as client:
            lines = client.get(f"{self.url}/metrics").text.splitlines()
        pairs = (line.removeprefix("llamacpp:").split() for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}


def serve(model: str) -> None:
    """Serve a model on a free port of this machine until standard input ends; print the address first."""
    xllamacpp: Any = import_module("xllamacpp")  # in the process of its own only
    params: Any = xllamacpp.CommonParams()
    params.model.path, params.model_alias = model, {MODEL}
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.n_parallel, params.n_ctx = 2, 2 * CONTEXT
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.offline, params.ui, params.endpoint_metrics, params.verbosity = True, False, True, 0
    server: Any = xllamacpp.Server(params)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()


def write_model(path: Path) -> None:
    """Write the model as GGUF: two layers, 32-bit floats, about 6 MB."""
    import gguf
    import numpy as np

    kinds, pieces = gguf.TokenType, [word.replace(" ", "\u2581") for word in WORDS]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *_CONTROLS, "\u2581", *pieces]
    types = [kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL, *[kinds.BYTE] * 256, *[kinds.CONTROL] * len(_CONTROLS)]
    types += [kinds.NORMAL] * (1 + len(pieces))
    scores = [0.0] * (len(tokens) - len(pieces)) + [-1.0 - place for place in range(len(pieces))]
    writer: Any = gguf.GGUFWriter(path, "llama")
    for name, value in {
        "name": MODEL, "context_length": CONTEXT, "embedding_length": _WIDTH, "block_count": 2,
        "feed_forward_length": _FEED, "rope_dimension_count": _WIDTH // _HEADS, "head_count": _HEADS,
        "head_count_kv": _HEADS, "layer_norm_rms_eps": 1e-5, "vocab_size": len(tokens),
        "file_type": gguf.LlamaFileType.ALL_F32, "tokenizer_model": "llama", "tokenizer_pre": "default",
        "token_list": tokens, "token_scores": scores, "token_types": [int(kind) for kind in types],
        "bos_token_id": 1, "eos_token_id": 2, "unk_token_id": 0, "add_bos_token": True, "add_eos_token": False,
        "add_space_prefix": False, "chat_template": _TEMPLATE,
    }.items():  # fmt: skip
        getattr(writer, f"add_{name}")(value)
    words = [tokens.index(piece) for piece in pieces]
    follows = dict(zip(words, [*words[1:], 2], strict=True))
    embedding, output = np.zeros((2, len(tokens), _WIDTH), "float32")
    for token in range(len(tokens)):
        embedding[token, token] = 4.0
        output[follows.get(token, words[0]), token] = _SHARP
    tensors: dict[str, Any] = {"token_embd": embedding, "output_norm": np.ones(_WIDTH), "output": output}
    chance = np.random.default_rng(7)
    for layer in range(2):
        weights = dict.fromkeys(("attn_q", "attn_k", "attn_v", "attn_output"), (_WIDTH, _WIDTH))
        weights |= {"ffn_gate": (_FEED, _WIDTH), "ffn_up": (_FEED, _WIDTH), "ffn_down": (_WIDTH, _FEED)}
        tensors |= {f"blk.{layer}.{name}": np.ones(_WIDTH) for name in ("attn_norm", "ffn_norm")}
        tensors |= {f"blk.{layer}.{name}": chance.normal(0, 0.002, shape) for name, shape in weights.items()}
    for name, tensor in tensors.items():
        writer.add_tensor(f"{name}.weight", np.ascontiguousarray(tensor, "float32"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
