"""Images and PDFs in a prompt: what they may be made of, how each provider is sent them, and where they never are."""

from __future__ import annotations

import base64
import json
import pickle
import re
import zlib
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml
from matplotlib.figure import Figure
from PIL import Image as Pil

from servers import ANTHROPIC, GOOGLE, OLLAMA, OPENAI, RESPONSES, Answer, Tokens
from victor_nb import Image, Message, Pdf, Single, Stage, Strategy, session
from victor_nb.errors import BadRequestError, BudgetError, PromptError
from victor_nb.kernel import reset
from victor_nb.media import Media, Prompt, compose, split
from victor_nb.providers.spec import BUILT_IN, spec_of
from victor_nb.templates import fill
from workbench import Bench, ask, fail, rows, write_profiles

if TYPE_CHECKING:
    from cells import Shell
    from servers import Dialect, Server

pytest_plugins = ["cells_fixtures", "workbench_fixtures"]


def photo(kind: str = "PNG", width: int = 64, height: int = 48, mode: str = "RGB") -> bytes:
    buffer = BytesIO()
    Pil.new(mode, (width, height), 120).save(buffer, kind)
    return buffer.getvalue()


def document(pages: int = 3, *, packed: bool = False) -> bytes:
    """Return what is enough of a PDF to count its pages; `packed` has them in a compressed stream, as PDF 1.5."""
    objects = b"".join(b"<< /Type /Page /Parent 1 0 R >>\n" for _ in range(pages))
    if packed:
        objects = (
            b"5 0 obj << /Type /ObjStm /Filter /FlateDecode >>\nstream\n" + zlib.compress(objects) + b"\nendstream"
        )
    return b"%PDF-1.7\n1 0 obj << /Type /Pages >> endobj\n" + objects + b"\n%%EOF"


def figure() -> Figure:
    made = Figure(figsize=(2, 1))
    made.subplots().plot([1, 3, 2])
    return made


SHOWN = "[image 64x48 png, "


# --- what they are made of ---


@pytest.mark.parametrize(
    ("data", "kind"),
    [(photo(kind), kind.lower()) for kind in ("PNG", "JPEG", "GIF", "WEBP")]
    + [(photo("WEBP", mode="RGBA"), "webp"), (photo("PNG", mode="L"), "png")],
)
def test_when_a_file_is_an_image_then_its_format_and_size_are_known(tmp_path: Path, data: bytes, kind: str) -> None:
    path = tmp_path / "photo"
    path.write_bytes(data)
    for source in (path, str(path), data, bytearray(data)):
        made = Image(source)
        assert (made.kind, made.width, made.height, made.data) == (kind, 64, 48, data)
    assert re.fullmatch(rf"\[image 64x48 {kind}, \d+ k?B, sha256 [0-9a-f]{{12}}\]", str(Image(path)))
    assert repr(Image(path)) == str(Image(path)) == Image(path).stand_in


def test_when_a_lossless_webp_is_given_then_its_size_is_known() -> None:
    buffer = BytesIO()
    Pil.new("RGB", (64, 48)).save(buffer, "WEBP", lossless=True)
    assert (Image(buffer.getvalue()).width, Image(buffer.getvalue()).height) == (64, 48)


def test_when_a_figure_is_given_then_it_is_the_same_png_each_time() -> None:
    first, again = Image(figure()), Image(figure())
    assert (first.kind, first.width, first.height) == ("png", 200, 100)
    assert first == again
    assert Pil.open(BytesIO(first.data)).size == (200, 100)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK", "1", "F"])
def test_when_a_pil_image_is_given_then_it_is_a_png_whatever_its_mode(mode: str) -> None:
    made = Image(Pil.new(mode, (64, 48)))
    assert (made.kind, made.width, made.height) == ("png", 64, 48)


def test_when_a_pil_image_is_a_photograph_then_it_stays_jpeg() -> None:
    assert Image(Pil.open(BytesIO(photo("JPEG")))).kind == "jpeg"


@pytest.mark.parametrize("shape", [(48, 64), (48, 64, 1), (48, 64, 3), (48, 64, 4)])
def test_when_an_array_is_given_then_each_pixel_arrives(shape: tuple[int, ...]) -> None:
    whole = np.random.default_rng(1).integers(0, 256, shape, dtype="uint8")
    read = np.asarray(Pil.open(BytesIO(Image(whole).data)))
    assert (read.reshape(shape) == whole).all()
    floats = np.asarray(Pil.open(BytesIO(Image(whole / 255).data)))
    assert (floats.reshape(shape) == whole).all()
    sliced = np.asarray(Pil.open(BytesIO(Image(whole[::2, ::-1]).data)))
    assert (sliced.reshape(whole[::2].shape) == whole[::2, ::-1]).all()
    assert Image(whole > 100).width == 64


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (b"GIF8 no", "is no PNG, JPEG, GIF or WebP. Save it as one of these."),
        (b"\xff\xd8\xff\xe0\x00", "is no PNG, JPEG"),
        ("nowhere.png", "'nowhere.png' cannot be read: No such file or directory. Give the path"),
        (".", "cannot be read: Is a directory"),
        ("a\0b", "cannot be read"),
        (7, "is made of a int. Give a path, bytes, a figure"),
        (np.zeros((2, 2, 2), "uint8"), "is an array of shape 2x2x2"),
        (np.zeros(9, "uint8"), "is an array of shape 9"),
        (np.zeros((0, 4), "uint8"), "is an array of shape 0x4"),
        (np.full((2, 2), 7.0), "floats beyond 0 to 1"),
        (np.full((2, 2), np.nan), "floats beyond 0 to 1, or NaN"),
        (np.zeros((2, 2), "int64"), "is an array of int64. Make it uint8"),
    ],
)
def test_when_there_is_no_image_in_it_then_the_error_says_what_to_give(source: object, words: str) -> None:
    with pytest.raises(PromptError) as caught:
        Image(source)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("packed", [False, True])
def test_when_a_pdf_is_given_then_its_pages_are_counted(tmp_path: Path, packed: bool) -> None:  # noqa: FBT001 - a case
    path = tmp_path / "report.pdf"
    path.write_bytes(document(packed=packed))
    made = Pdf(path)
    assert (made.pages, made.mime) == (3, "application/pdf")
    assert made.stand_in.startswith("[PDF of 3 pages, ")
    assert Pdf(b"%PDF-1.4 of which nothing is known").pages is None
    with pytest.raises(PromptError, match=r"The PDF is no PDF\. Give the path"):
        Pdf(photo())


def test_when_pickled_then_prompts_images_and_turns_are_the_same() -> None:
    prompt = compose(["Look:", Image(photo()), Pdf(document())])
    again = pickle.loads(pickle.dumps(prompt))
    assert (again, again.media, type(again)) == (prompt, prompt.media, Prompt)
    turn = Message("user", str(prompt), prompt.media)
    assert pickle.loads(pickle.dumps(turn)) == turn
    assert photo().hex()[:40] not in repr(turn)


def test_when_a_prompt_is_split_then_texts_and_images_come_in_order() -> None:
    one, two = Image(photo()), Image(photo(width=8))
    prompt = compose(["Compare ", one, "with", two, one, "now."])
    assert prompt.media == (one, two)
    assert split(prompt, prompt.media) == ["Compare ", one, "with", two, one, "now."]
    assert split(str(prompt), ()) == [str(prompt)]


# --- in each protocol ---


def sent(bench: Bench) -> list[Any]:
    """Return the parts of the last turn: texts, and what is sent beside them in the protocol's own form."""
    body = bench.body
    if bench.dialect is OLLAMA:
        [turn] = body["messages"]
        return [turn["content"], *turn["images"]]
    turns = body.get("messages") or body.get("contents") or body["input"]
    parts = turns[-1].get("content") or turns[-1]["parts"]
    return [part.get("text", {key: value for key, value in part.items() if key != "detail"}) for part in parts]


def form(dialect: Dialect, media: Media) -> object:
    """Return how a provider wants an image or a PDF, by its documentation."""
    data, pdf = base64.b64encode(media.data).decode(), isinstance(media, Pdf)
    kind = "application/pdf" if pdf else "image/png"
    url = f"data:{kind};base64,{data}"
    forms: dict[Dialect, object] = {
        OLLAMA: data,
        GOOGLE: {"inlineData": {"mimeType": kind, "data": data}},
        ANTHROPIC: {
            "type": "document" if pdf else "image",
            "source": {"type": "base64", "media_type": kind, "data": data},
        },
        OPENAI: {"type": "file", "file": {"filename": "document.pdf", "file_data": url}}
        if pdf
        else {"type": "image_url", "image_url": {"url": url}},
        RESPONSES: {"type": "input_file", "filename": "document.pdf", "file_data": url}
        if pdf
        else {"type": "input_image", "image_url": url},
    }
    return forms[dialect]


async def test_when_an_image_is_asked_about_then_it_is_sent_in_the_provider_s_own_form(bench: Bench) -> None:
    bench.play(Answer())
    reply = await bench.ask(await bench.agent(), ["What is this?", Image(photo())])
    assert reply.content == Answer().text
    assert sent(bench) == ["What is this?", form(bench.dialect, Image(photo()))]


@pytest.mark.parametrize("dialect", [ANTHROPIC, OPENAI, RESPONSES, GOOGLE], ids=repr)
async def test_when_a_pdf_is_asked_about_then_it_is_sent_in_the_provider_s_own_form(bench: Bench) -> None:
    bench.play(Answer())
    agent = await bench.agent()
    stream = agent.stream([Pdf(document()), "Sum it up.", Image(photo()), "And this?"])
    assert stream.result().content == Answer().text
    expected = ["Sum it up.", form(bench.dialect, Image(photo())), "And this?"]
    assert sent(bench) == [form(bench.dialect, Pdf(document())), *expected]


async def test_when_the_ledger_logs_texts_then_the_bytes_are_in_none_of_them(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VICTOR_LEDGER", str(bench.folder / "rows.sqlite"))
    file = {"profiles": {"desk": bench.profile()}, "log_text": True}
    (bench.folder / "profiles.yaml").write_text(yaml.safe_dump(file), encoding="utf-8")
    reset()
    bench.play(Answer())
    image = Image(np.random.default_rng(1).integers(0, 256, (64, 64), dtype="uint8"))
    await ask(session().pool.get_orchestrator("desk"), ["Look.", image], bench.way)
    ledger = session().ledger
    ledger.flush()
    assert ledger.path is not None
    everything = b"".join(path.read_bytes() for path in ledger.path.parent.glob(f"{ledger.path.name}*"))
    assert image.stand_in.encode() in everything
    assert image.data[40:80] not in everything
    assert image.base64[60:100].encode() not in everything


async def test_when_a_chat_goes_on_then_its_images_are_sent_again(bench: Bench) -> None:
    bench.play(Answer(pieces=("A ", "chart.")), Answer())
    chat = (await bench.agent()).chat()
    image = Image(photo())
    await ask(chat, ["What is this?", image], bench.way)
    await ask(chat, "Sure?", bench.way)
    assert chat.history[0] == Message("user", f"What is this?\n{image.stand_in}", (image,))
    assert image.base64 in json.dumps(bench.body)
    assert json.dumps(bench.body).count(image.base64) == 1


@pytest.mark.parametrize("way", ["plain"])
async def test_when_a_reply_is_beside_an_image_then_its_text_is_sent(bench: Bench) -> None:
    bench.play(Answer())
    agent = await bench.agent()
    reply = await bench.ask(agent)
    await agent.run(["Is this true of the image?", reply, Image(photo())])
    assert Answer().text in sent(bench)[0] + str(sent(bench)[1])
    with pytest.raises(PromptError, match=r"The prompt holds a bytes\. Give text, Image"):
        await agent.run(["Look", photo()])  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("given", "kind"),
    [(Figure(), "matplotlib Figure"), (Pil.new("L", (2, 2)), "PIL Image"), (np.zeros((2, 2)), "numpy ndarray")],
    ids=["figure", "pil", "array"],
)
def test_when_what_is_to_be_an_image_is_asked_as_it_is_then_the_error_says_how(
    shell: Shell, given: object, kind: str
) -> None:
    said = rf"The prompt holds a {kind}\. Give text, Image\(\.\.\.\)"
    agent = session().pool.get_orchestrator("fast")
    image: Any = given
    for prompt in (image, ["Look", image]):
        with pytest.raises(PromptError, match=said):
            agent.run_sync(prompt)
    with pytest.raises(PromptError, match=said):
        Single("fast").run_sync(image)


# --- what is refused before it is sent ---


def test_when_a_provider_is_built_in_then_it_takes_images() -> None:
    assert [spec.name for spec in BUILT_IN if spec.attachments is None] == ["embedded"]  # its model reads text alone
    with_pdf = {spec.name for spec in BUILT_IN if spec.attachments is not None and spec.attachments.pdf}
    assert with_pdf == {"anthropic", "openai", "google", "openrouter", "azure"}
    openai = spec_of("openai").attachments
    assert openai is not None
    for model in ("gpt-3.5-turbo", "gpt-4", "gpt-4-0613", "gpt-4-32k", "o1-mini", "o3-mini", "o1-preview"):
        assert not openai.takes(model), model
    for model in ("gpt-4o", "gpt-4-turbo", "gpt-4.1-nano", "gpt-5", "o1", "o3", "o1-pro", "house-model"):
        assert openai.takes(model), model


@pytest.mark.parametrize("way", ["plain"])
@pytest.mark.parametrize(
    ("dialect", "model", "media", "words"),
    [
        (OPENAI, "gpt-3.5-turbo", [Image(photo())], "gpt-3.5-turbo takes no images and PDFs. Ask another profile"),
        (OPENAI, "o3-mini", [Pdf(document())], "o3-mini takes no images and PDFs"),
        (OLLAMA, None, [Pdf(document())], "ollama takes no PDFs. Send its text, or its pages as images"),
        (GOOGLE, None, [Image(photo("GIF"))], "google takes images as png, jpeg, webp, not [image 64x48 gif"),
        (ANTHROPIC, None, [Image(photo(width=8_001))], "at most 8,000 pixels a side, not [image 8001x48 png"),
        (ANTHROPIC, None, [Image(photo(width=2_001))] * 21, "at most 2,000 pixels a side"),
        (ANTHROPIC, None, [Image(photo() + bytes(8_000_000))], "anthropic takes 10.0 MB at most, and [image"),
        (ANTHROPIC, None, [Image(photo() + bytes(6_000_000))] * 5, "takes 32.0 MB in a request, and the 5 here are 40"),
        (OPENAI, None, [Pdf(document() + bytes(40_000_000))], "openai takes 50.0 MB at most, and [PDF of 3 pages"),
    ],
)
async def test_when_an_image_cannot_be_taken_then_that_is_said_before_anything_is_sent(
    bench: Bench, model: str | None, media: list[Media], words: str
) -> None:
    bench.play(Answer())
    agent = await bench.agent(**({"model": model} if model else {}))
    error = await fail(agent.run(["Look.", *media]))
    assert isinstance(error, BadRequestError)
    assert str(error).startswith("desk: ")
    assert words in str(error)
    assert bench.server.requests == rows() == []


# --- money ---


@pytest.mark.parametrize("way", ["plain"])
@pytest.mark.parametrize("dialect", [OPENAI, ANTHROPIC, GOOGLE], ids=repr)
async def test_when_a_budget_holds_then_an_image_counts_at_its_most(bench: Bench) -> None:
    bench.play(Answer(tokens=Tokens(input=1_000, output=10)))
    agent = await bench.agent(max_tokens=1, prices={"input": 1, "output": 1})
    image = Image(photo(width=1_500, height=1_500))
    limits = spec_of(bench.dialect.name).attachments
    assert limits is not None
    most = limits.most_tokens(bench.dialect.model, 1_500, 1_500)
    with session().budget.limit(most / 1e6), pytest.raises(BudgetError):
        agent.run_sync(["Look.", image])
    assert bench.server.requests == []
    with session().budget.limit((most + 500) / 1e6):
        agent.run_sync(["Look.", image])
    with session().budget.limit(3 * most / 1e6), pytest.raises(BudgetError):
        agent.run_sync(["Look.", Pdf(document(pages=3))])
    assert len(bench.server.requests) == 1


@pytest.mark.parametrize(
    ("provider", "model", "size", "tokens"),
    [
        ("anthropic", "claude-opus-5-5", (4_000, 4_000), 4_784),
        ("openai", "gpt-4o-mini", (10, 10), 48_169),
        ("openai", "gpt-4o", (4_000, 4_000), 1_445),
        ("openai", "gpt-5-mini", (4_000, 4_000), 3_779),
        ("openai", "gpt-6.1-sol", (9_000, 6_000), 346_150),
        ("google", "gemini-3.5-flash", (4_000, 4_000), 2_240),
        ("google", "gemini-2.5-pro", (10, 10), 2_400),
    ],
)
def test_when_a_model_counts_images_then_the_most_is_what_its_provider_states(
    provider: str, model: str, size: tuple[int, int], tokens: int
) -> None:
    limits = spec_of(provider).attachments
    assert limits is not None
    assert limits.most_tokens(model, *size) == tokens


@pytest.mark.parametrize("way", ["plain"])
@pytest.mark.parametrize("dialect", [OPENAI], ids=repr)
async def test_when_an_image_was_counted_then_texts_are_not_taken_for_denser(bench: Bench) -> None:
    bench.play(Answer(tokens=Tokens(input=50_000, output=10)))
    agent = await bench.agent(max_tokens=10)
    with session().budget.limit(1):
        for _ in range(6):
            agent.run_sync(["Look.", Image(photo())])
        expected = session().runtime.calibration.expected(bench.dialect.model, "live", size=4_000)
    assert expected == 1_000


# --- in cells, fan-outs and strategies ---


def test_when_a_cell_names_a_figure_a_path_or_an_array_then_it_is_sent(live: Shell, server: Server) -> None:
    Path("chart.png").write_bytes(photo())
    Path("report.pdf").write_bytes(document())
    live.names.update(fig=figure(), png="chart.png", pdf=Path("report.pdf"))
    live.names.update(pil=Pil.new("RGB", (64, 48)), pixels=np.zeros((48, 64), "uint8"), made=Image(photo()))
    server.play(Answer())
    for place in ("fig", "png | image", "pil", "pixels", "made", "pixels | image"):
        ran = live.run(f"%%victor\nWhat is this?\n{{{{ {place} }}}}\nIn one word.")
        assert ran.error is None, ran.error
        first, image, last = server.requests[-1].json["messages"][-1]["content"]
        assert (first["text"], last["text"]) == ("What is this?", "In one word.")
        assert image["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    assert live.run("%%victor\n{{ pdf | pdf }} Sum it up.").error is None
    kinds = [part["type"] for part in server.requests[-1].json["messages"][-1]["content"]]
    assert kinds == ["file", "text"]


def test_when_a_cell_names_what_is_no_image_then_the_error_says_where(live: Shell, server: Server) -> None:
    live.names.update(matrix=np.ones((3, 3)) * 9, path="nowhere.png", row={"a": 1})
    assert "Say how it reads: | image, | repr or | json" in str(live.fail("%%victor\nSee {{ matrix }}"))
    error = str(live.fail("%%victor\nSee\n{{ path | image }}"))
    assert error.startswith("{{ path | image }} (line 2 of the prompt) 'nowhere.png' cannot be read")
    assert "(line 1 of the prompt) is made of a dict" in str(live.fail("%%victor\n{{ row | image }}"))
    assert "takes none. Write | image" in str(live.fail("%%victor\n{{ path | image(3) }}"))
    assert server.requests == []


def test_when_a_run_is_dry_then_it_says_what_it_cannot_estimate(live: Shell, server: Server) -> None:
    live.names["fig"] = figure()
    plain = live.run("%%victor --dry max_tokens=100\nRead {{ fig }}").plain
    assert "of text; what 1 image or PDF will count cannot be estimated, at most 48,169 tokens" in plain
    assert "Read [image 200x100 png" in plain
    assert server.requests == []


def test_when_simulated_then_an_image_is_answered_and_counted(shell: Shell) -> None:
    shell.names["fig"] = figure()
    plain, shown = shell.run("%%victor fast out=a\nRead it"), shell.run("%%victor fast out=b\nRead {{ fig }}")
    assert plain.error is shown.error is None
    assert 800 <= shell.names["b"].usage.input_tokens - shell.names["a"].usage.input_tokens < 900
    assert shell.names["b"].cost > shell.names["a"].cost


@pytest.mark.parametrize("way", ["plain"])
@pytest.mark.parametrize("dialect", [OPENAI], ids=repr)
async def test_when_a_fan_out_has_an_image_then_each_profile_is_shown_it(bench: Bench) -> None:
    bench.play(Answer())
    blind = bench.profile(model="gpt-3.5-turbo")
    write_profiles(bench.folder, one=bench.profile(), two=bench.profile(model="gpt-4o"), blind=blind)
    image = Image(photo())
    replies = await session().pool.fan_out(["What is this?", image], ["one", "two", "blind"])
    assert ([each.profile for each in replies.ok], list(replies.failed)) == (["one", "two"], ["blind"])
    assert "takes no images" in str(replies["blind"])
    several = await session().pool.fan_out([["First", image], "Second"], ["one"])
    assert len(several.entries) == 2
    assert len(bench.server.requests) == 4


@pytest.mark.parametrize("way", ["plain"])
@pytest.mark.parametrize("dialect", [OPENAI], ids=repr)
async def test_when_a_strategy_has_an_image_then_each_stage_with_the_task_is_shown_it(bench: Bench) -> None:
    bench.play(Answer())
    write_profiles(bench.folder, one=bench.profile())
    stages = [
        Stage("draft", "one", "Say in short: {{ task }}"),
        Stage("check", "one", "Is it true of {{ task }}?\n\n{{ draft }}"),
        Stage("last", "one", "Shorten: {{ check }}"),
    ]
    run = await Strategy("mine", stages).run(["What is this?", Image(photo())])
    assert run.complete
    assert (await Strategy("mine", stages[:1]).run(Image(photo()))).task == Image(photo()).stand_in
    bench.server.requests.pop()
    kinds = [type(request.json["messages"][-1]["content"]) for request in bench.server.requests]
    assert kinds == [list, list, str]


@pytest.mark.parametrize("way", ["plain"])
async def test_when_an_answer_is_asked_for_again_then_the_image_is_shown_again(bench: Bench) -> None:
    bench.play(Answer(pieces=("I see it.",)), Answer(pieces=('{"colour": ', '"red"}')))
    schema = {"type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"]}
    image = Image(photo())
    reply = await bench.ask(await bench.agent(), ["Which?", image], schema=schema)
    assert (reply.data, reply.attempts) == ({"colour": "red"}, 2)
    assert [json.dumps(request.json).count(image.base64) for request in bench.server.requests] == [1, 1]


def test_when_profiles_are_shown_then_they_say_what_is_taken_beside_text(shell: Shell, tmp_path: Path) -> None:
    blind = {"provider": "openai", "model": "gpt-3.5-turbo"}
    write_profiles(tmp_path, one={"provider": "openai", "model": "o3-pro"}, blind=blind)
    shown = shell.run("%victor profiles one").plain
    assert "images (png, jpeg, webp, gif) and PDFs" in shown
    assert re.search(r"asked by +responses", shown)
    assert re.search(r"beside text +nothing", shell.run("%victor profiles blind").plain)
    assert re.search(r"beside text +images \(png, jpeg, webp\) and PDFs", shell.run("%victor profiles google").plain)


def test_when_text_is_filled_in_then_the_images_of_a_value_come_with_it() -> None:
    image = Image(photo())
    filled = fill("{{ task }} Again.", {"task": compose(["Look:", image])})
    assert isinstance(filled, Prompt)
    assert filled.media == (image,)
    assert isinstance(filled + " More.", Prompt)
    assert type(fill("{{ task }}", {"task": "text"})) is str
