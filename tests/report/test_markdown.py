"""The exported Markdown, rendered: what a colleague reads is the finding, and nothing hostile comes with it."""

from __future__ import annotations

import math
import re

import msgspec
import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from itx.records import Context, ContextPolicy, DataReference, Decoding, Model, Trace
from itx.report.figures import summarise
from itx.report.markdown import write_markdown
from itx.report.summary import write_summary
from itx.report.wording import say_nats, say_probability, say_share
from itx.text import sanitise
from tests.report.test_escape import HOSTILE
from tests.support.traces import PROMPTS, RESPONSES, build_run, build_trace, build_traces

PARSER = MarkdownIt("gfm-like")
BLOCKS = {
    "paragraph_open", "inline", "heading_open", "blockquote_open", "fence", "table_open", "thead_open", "tbody_open",
    "tr_open", "th_open", "td_open", "bullet_list_open", "list_item_open",
}  # fmt: skip
INLINE = {
    "text", "code_inline", "hardbreak", "softbreak", "strong_open", "strong_close", "em_open", "em_close",
    "html_inline",
}  # fmt: skip


def _parse(markdown: str) -> list[Token]:
    tokens = PARSER.parse(markdown)
    assert {token.type for token in tokens if token.nesting >= 0} <= BLOCKS
    children = [child for token in tokens for child in token.children or []]
    assert {child.type for child in children} <= INLINE
    assert {child.content for child in children if child.type == "html_inline"} <= {"<b>", "</b>", "<em>", "</em>"}
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u200b]", markdown)
    return tokens


def _headings(tokens: list[Token]) -> list[str]:
    return [
        "".join(child.content for child in tokens[place + 1].children or [])
        for place, token in enumerate(tokens)
        if token.type == "heading_open"
    ]


def _tables(tokens: list[Token]) -> list[list[list[str]]]:
    tables: list[list[list[str]]] = []
    for place, token in enumerate(tokens):
        if token.type == "table_open":
            tables.append([])
        elif token.type == "tr_open":
            tables[-1].append([])
        elif token.type in {"th_open", "td_open"}:
            tables[-1][-1].append("".join(child.content for child in tokens[place + 1].children or []))
    return tables


@pytest.mark.parametrize("tuned", [("full",), ("lora", "full")])
def test_the_whole_document_renders_clean(tuned: tuple[str, ...]) -> None:
    run = build_run(tuned, warnings=["The template was *found* in <b>base</b>"])
    traces = build_traces(run, 8)
    tokens = _parse(write_markdown(run, iter(traces)))
    headings = _headings(tokens)
    assert headings[0] == "What tuning changed: " + " ⇄ ".join(["base", *tuned])
    assert headings[1] == "All 8 prompts"
    assert headings[2:4] == ["Prompt 1", f"{tuned[0]} answered, scored by base"]
    assert headings[-1] == "How this was made"
    assert sum(heading.startswith("Prompt ") for heading in headings) == 8
    assert sum(heading.endswith("scored by base") for heading in headings) == 7 * len(tuned)
    assert sum(heading.startswith("base answered, scored by") for heading in headings) == 7 * len(tuned)


def test_the_table_of_shifted_tokens_is_the_traces() -> None:
    run = build_run()
    trace = build_traces(run, 1, seed=11)[0]
    tables = _tables(_parse(write_markdown(run, [trace])))
    for author, scorer in (("full", "base"), ("base", "full")):
        response = trace.response(author)
        assert response is not None
        score = response.scores[scorer]
        table = next(table for table in tables if table[0][1] == f"{scorer} wanted")
        assert table[0] == [
            "position", f"{scorer} wanted", f"p by {scorer}", f"{author} said", f"p by {author}", f"p by {scorer}",
            "rank", "KL",
        ]  # fmt: skip
        shifted = [place for place, rank in enumerate(score.rank) if rank > 3]
        assert [int(row[0]) for row in table[1:]] == shifted
        assert shifted
        for row, place in zip(table[1:], shifted, strict=True):
            wanted, logp = score.top[place][0]
            assert row[1] == f"'{sanitise(trace.pieces[wanted], keep_newlines=False)}'"
            assert float(row[2]) == pytest.approx(math.exp(logp), rel=0.06)
            assert row[3].startswith(f"'{sanitise(trace.pieces[response.ids[place]], keep_newlines=False)}'")
            assert row[3].endswith("(EOS)") == (place == response.length)
            assert float(row[4]) == pytest.approx(math.exp(response.logp[place]), rel=0.06)
            assert float(row[5]) == pytest.approx(math.exp(score.logp[place]), rel=0.06)
            assert int(row[6]) == score.rank[place]
            assert float(row[7]) == pytest.approx(score.kl_author_scorer[place], rel=0.06)


def test_what_must_be_known_to_repeat_it_is_there() -> None:
    models = build_run(("lora", "full")).models
    run = build_run(
        ("lora", "full"),
        models=[models[0], models[1], msgspec.structs.replace(models[2], dtype="bfloat16", exact=False)],
        decoding=Decoding(max_new_tokens=77, temperature=0.5, top_p=0.9, top_k=40, seed=3),
        data=DataReference(reference="rows.jsonl", fingerprint="sha256:ab12", rows=51760),
        warnings=["No template in base"],
    )
    traces = build_traces(run, 1)
    written = write_markdown(run, traces)
    tokens = _parse(written)
    shown = "\n".join(
        "".join(child.content for child in token.children or []) for token in tokens if token.type == "inline"
    )
    for fact in (
        "temperature 0.5, top-p 0.9, top-k 40, seed 3, at most 77 new tokens",
        "policy same; chat template sha256:0000",
        "from ./models/full",
        "rows.jsonl, 51,760 rows, sha256:ab12",
        "unshifted ≤ 1 < marginal ≤ 3 < shifted",
        "chunks of 32 tokens, 2 threads",
        "KL below 1e-5",
        "about 1e-3 nats",
        "LoRA (paper: LFT)",
        "full (paper: SFT)",
        "torch on cpu, top-k only",
        "bfloat16",
        "sha256:0000000000000000…",
        "python 3.11.9, torch 2.6.0, transformers 5.0.0",
        "with itx 0.1.0",
        "No template in base",
    ):
        assert fact in shown, fact
    fences = [token.content for token in tokens if token.type == "fence"]
    assert "itx run ./models/base lora=./models/lora full=./models/full --out 'my run'\n" in fences
    assert "itx demo\n" in [
        token.content for token in _parse(write_markdown(run, traces, ["itx", "demo"])) if token.type == "fence"
    ]
    assert "│" in fences[0]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_anywhere_stays_text(text: str) -> None:
    run = build_run(
        command=["itx", "run", text],
        models=[
            Model(name="base", role="base", reference=text, engine=text, dtype=text, weights=text),
            Model(name=f"x{text}", role="tuned", reference="r", engine="torch", adapter=text, quantization=text),
        ],
        versions={text or "x": text},
        warnings=[text],
        created=text,
    )
    name = f"x{text}"
    trace = build_trace("1", text or "p", {"base": f"a {text}", name: f"{text} b"}, reference=text)
    every = dict.fromkeys(trace.pieces, text)
    trace = msgspec.structs.replace(trace, prompt_id=text, pieces=every, contexts={"base": Context(ids=[1], text=text)})
    failed = Trace(prompt_id="2", prompt=text, error=text)
    tokens = _parse(write_markdown(run, [trace, failed]))
    assert len([token for token in tokens if token.type == "heading_open" and token.tag == "h2"]) == 4
    assert len(_tables(tokens)) >= 2
    assert all(len(row) == len(table[0]) for table in _tables(tokens) for row in table)
    _parse(write_summary(run, summarise(run, [trace, failed])))


def test_failed_empty_given_and_unscored() -> None:
    run = build_run()
    traces = build_traces(run, 8)
    written = write_markdown(run, traces)
    assert "This prompt failed: The context has 4,101 tokens, the window 4,096.\n" in written
    assert "### `full` answered, scored by `base`\n\nAn empty response.\n" in write_markdown(run, [traces[3]])
    limited = build_run(decoding=Decoding(max_new_tokens=len(traces[2].responses[-1].ids)))
    assert "(stopped at the token limit)" in write_markdown(limited, [traces[2]])
    assert "(cancelled before its end)" in write_markdown(run, [traces[4]])
    assert (
        "Known answer:\n\n> It was fought in 1815\\.\n" in written
        or "Known answer:\n\n> It was fought in 1815.\n" in written
    )
    alone = build_trace("1", "p", {"full": "It is."}, scorers={})
    given = msgspec.structs.replace(alone, responses=[msgspec.structs.replace(alone.responses[0], given=True)])
    assert "### `full` answered; nobody scored it\n\n> It is.\n\n(given, not generated)\n" in write_markdown(
        run, [given]
    )
    assert "No shifted token." in write_markdown(run, [_calm(traces[0])])


def _calm(trace: Trace) -> Trace:
    response = trace.responses[1]
    score = msgspec.structs.replace(response.scores["base"], rank=[1] * len(response.ids))
    return msgspec.structs.replace(trace, responses=[msgspec.structs.replace(response, scores={"base": score})])


def test_a_long_curve_says_what_a_column_is() -> None:
    run = build_run()
    long, short = build_traces(run, 1, words=120)[0], build_traces(run, 1)[0]
    assert (
        write_markdown(run, [long]).count("KL by position (in nats; a column shows the largest of its positions):") == 2
    )
    assert write_markdown(run, [short]).count("KL by position (in nats):") == 2


def test_bounds_are_shown_as_bounds() -> None:
    run = build_run()
    trace = build_traces(run, 1)[0]
    response = trace.responses[1]
    score = msgspec.structs.replace(response.scores["base"], exact=False)
    bound = msgspec.structs.replace(trace, responses=[msgspec.structs.replace(response, scores={"base": score})])
    written = write_markdown(run, [bound])
    assert "KL by position (lower bounds, in nats):" in written
    assert re.search(r"mean KL\(full‖base\) ≥ \d", written)


def test_summary_has_the_figures_with_their_counts() -> None:
    run = build_run(("lora", "full"))
    traces = build_traces(run, 8)
    figures = summarise(run, traces)
    tokens = _parse(write_summary(run, figures))
    pairs, kinds = _tables(tokens)
    for row, pair in zip(pairs[1:], figures.pairs, strict=True):
        assert row[:2] == [pair.author, pair.scorer]
        assert row[3] == str(pair.positions)
        assert row[6] == f"{pair.counts.shifted} ({100 * pair.counts.shifted / pair.positions:.0f} %)"
        assert float(row[7]) == pytest.approx(pair.kl_mean, rel=0.01)
    for row in kinds[1:]:
        for name, cell in zip(("lora", "full"), row[1:], strict=True):
            counts = figures.models[name].categories.get(row[0])
            assert cell.startswith(f"{counts.shifted} of {counts.positions}" if counts else "0 of 0")
    assert "7: The context has" in write_summary(run, figures).replace("`", "")
    empty = write_summary(run, summarise(run, []))
    assert "0 prompts, 0 failed" in empty
    _parse(empty)


def test_multi_byte_text_is_whole() -> None:
    run = build_run()
    trace = build_trace("1", PROMPTS[5], {"base": RESPONSES[5], "full": RESPONSES[0]})
    tokens = _parse(write_markdown(run, [trace]))
    shown = " ".join(child.content for token in tokens for child in token.children or [] if child.type == "text")
    assert "🎉" in shown
    assert "👩" in shown
    assert "東京" in shown


@pytest.mark.parametrize(
    ("logp", "said"),
    [(0.0, "1.00"), (-1e-9, "1.00"), (math.log(0.914), "0.91"), (math.log(0.1), "0.10"), (math.log(0.0312), "0.031"),
     (math.log(0.00081), "0.00081"), (math.log(2.3e-5), "2e-05"), (-2000.0, "0e+00"), (0.01, "1.00")],
)  # fmt: skip
def test_probabilities_in_words(logp: float, said: str) -> None:
    assert say_probability(logp) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0, "0.000"),
        (1e-7, "1e-07"),
        (0.0123, "0.012"),
        (0.9949, "0.995"),
        (0.996, "1.00"),
        (8.345, "8.35"),
        (123.4, "123.4"),
    ],
)
def test_nats_in_words(value: float, said: str) -> None:
    assert say_nats(value) == said
    assert say_nats(value, exact=False) == f"≥ {said}"


def test_shares_in_words() -> None:
    assert say_share(6, 41) == "6 (15 %)"
    assert say_share(0, 0) == "0"
    assert say_share(1234, 12340) == "1,234 (10 %)"


def test_the_template_of_the_bases_context_is_named() -> None:
    context = ContextPolicy(
        policy="jinja", template="sha256:1", base_template="sha256:" + "2" * 64, base_template_source="base.jinja"
    )
    written = write_markdown(build_run(context=context), [])
    assert "policy `jinja`; chat template `sha256:1`; the base's template `sha256:2222222222222222…` from" in written
    assert "`base.jinja`" in written
    assert "base's template" not in write_markdown(build_run(), [])
