#!/usr/bin/env python3
"""Count constructions that docs/style.md bans, and fail if there are more than recorded.

check_prose.py                compares the counts with tools/prose_counts.txt
check_prose.py --list [PATH]  prints file:line: kind: words, for all files or for PATH
check_prose.py --update       records the counts of now, unless a count rose

Each area of text has three counts. "words" are banned words. "long" are sentences of more
than 25 words. "nested" are sentences with more than one relative pronoun. Code is left
out: fenced and indented blocks, text in backticks, doctests. Each cell of a table is a
text of its own.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import textwrap
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

KINDS = ("words", "long", "nested")
WORDS_MAX = 25

# The files of each area. Tests and tools are apart: only developers read them.
PAGES = ("*.md", "docs/*.md")
PRODUCT = ("src/**/*.[ch]", "python/**/*.[ch]", "python/**/*.py", "python/**/*.pyi")
WORKSHOP = tuple(
    f"{folder}/**/*.{kind}"
    for folder in ("tests", "tools", "bench", "examples")
    for kind in ("c", "h", "py", "sh")
)

BANNED = re.compile(
    r"""\b(?:who|whoever|whom|what|whatever|that\ which|said|stands|brings
    |nobody|somebody|everybody|anybody|others|of\ them|that\ one
    |he|his|him|himself)\b
    |(?:^|(?<=[.!?]\ ))Where\b      # a condition begins with "if" or "when"
    |\ (?:--|–|—)\ """,  # noqa: RUF001
    re.X | re.I,
)
PRONOUN = re.compile(r"\b(?:which|who|whom|whose)\b|\bthat\b", re.I)
# Before "that": it joins a clause or points at a noun, and is no relative pronoun.
NOT_RELATIVE = re.compile(
    r"""(?:^|[,;:(]|\b(?:so|such|than|of|at|in|for|to|from|with|by|on|after|before|over|like
    |under|and|or|but|then|as|until|unless|because|while|if|when|not|is|are|only|except
    |says?|shows?|means?|sees?|knows?|finds?|checks?|asserts?|ensures?|requires?|sure|true
    |guarantees?|reports?|warns?|notes?|verif(?:y|ies)|assumes?|expects?|raises?|provided
    |returns?|calls?|reads?|within|into|behind|without|during|prevents?|gets?|has|have
    |states?|proves?|tells?|wants?|error|compares?|demands?|implies|possible))\ ?$""",
    re.X | re.I,
)
ABBREVIATION = re.compile(r"\b(?:e\.g|i\.e|etc|vs|cf|approx|no)\.$", re.I)
SENTENCE_END = re.compile(r"[.!?][)\"'”]*(?=\s|$)")
# A line of a comment that begins a text of its own: a list's item, an error, a parameter.
ITEM = re.compile(
    r"^(?:[-*+] |\d+[.)] |E[A-Z0-9]+(?:,? (?:or )?E[A-Z0-9]+)*: |`?\w+`?: )"
)
CODE = re.compile(r"``[^`]+``|`[^`]+`")


class Block(NamedTuple):
    """A text without a break in it: its lines, with their numbers."""

    lines: tuple[tuple[int, str], ...]


class Finding(NamedTuple):
    area: str
    path: str
    line: int
    kind: str
    words: str


# ---- texts of files ----


def blocks_of_lines(
    lines: Iterable[tuple[int, str]], indents: bool = False
) -> Iterator[Block]:
    """Split lines at blank ones, at items and, if `indents`, where the indent changes."""
    block: list[tuple[int, str]] = []
    indent, is_item = 0, False
    for number, line in lines:
        text = line.strip()
        changed = indents and not is_item and len(line) - len(line.lstrip()) != indent
        if block and (not text or ITEM.match(text) or changed):
            yield Block(tuple(block))
            block = []
        if not text or re.fullmatch(r"[-=~*+|: ]+", text):
            continue
        if not block:
            indent = len(line) - len(line.lstrip())
            is_item = ITEM.match(text) is not None
        block.append((number, text))
    if block:
        yield Block(tuple(block))


def blocks_of_page(text: str) -> Iterator[Block]:
    plain: list[tuple[int, str]] = []
    cells: list[Block] = []
    fenced, after_blank, listed = False, True, False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
            plain.append((number, ""))
        elif fenced or (line.startswith("    ") and after_blank and not listed):
            continue
        elif line.startswith("|"):
            plain.append((number, ""))
            cells += [
                Block(((number, cell.strip()),))
                for cell in re.split(r"(?<!\\)\|", line)
                if cell.strip() and not re.fullmatch(r"[-: ]+", cell)
            ]
        elif line.startswith("#"):
            plain += [(number, ""), (number, line.lstrip("# ")), (number, "")]
        else:
            plain.append((number, line))
            if line.strip():
                listed = bool(ITEM.match(line.strip())) or (
                    listed and line.startswith(" ")
                )
        after_blank = not line.strip() or (after_blank and line.startswith("    "))
    yield from blocks_of_lines(plain)
    yield from cells


class Text(NamedTuple):
    kind: str  # "comment", "docstring" or "message"
    blocks: tuple[Block, ...]


C_TOKEN = re.compile(
    r"""(?P<comment>/\*.*?\*/|//[^\n]*)|(?P<string>"(?:\\.|[^"\\\n])*")
    |(?P<other>'(?:\\.|[^'\\\n])+'|\#include[^\n]*|[A-Za-z_]\w*|\d[\w.']*|[^\s\w])""",
    re.X | re.S,
)
ESCAPES = {r"\n": "\n", r"\"": '"', r"\\": "\\", r"\t": " "}


def c_comment(text: str, number: int) -> list[tuple[int, str]]:
    body = text[2:] if text.startswith("//") else text[2:-2]
    lines = enumerate(body.lstrip("*!<").splitlines(), number)
    return [(n, re.sub(r"^\s*\*(?!\w)", "", line)) for n, line in lines]


def texts_of_c(text: str) -> Iterator[Text]:
    line_comments: list[tuple[int, str]] = []
    literal: list[tuple[int, str]] = []
    for match in C_TOKEN.finditer(text):
        token, number = match.group(), text.count("\n", 0, match.start()) + 1
        if literal and not match["string"] and not re.match(r"PRI\w+$", token):
            yield from texts_of_literal(literal)
            literal = []
        if line_comments and not (
            token.startswith("//") and number == line_comments[-1][0] + 1
        ):
            yield Text("comment", tuple(blocks_of_lines(line_comments)))
            line_comments = []
        if token.startswith("//"):
            line_comments += c_comment(token, number)
        elif match["comment"]:
            yield Text("comment", tuple(blocks_of_lines(c_comment(token, number))))
        elif match["string"]:
            literal.append((number, re.sub(r"\\.", unescape, token[1:-1])))
        elif literal:
            literal.append((number, "x"))
    if line_comments:
        yield Text("comment", tuple(blocks_of_lines(line_comments)))
    if literal:
        yield from texts_of_literal(literal)


def unescape(match: re.Match[str]) -> str:
    return ESCAPES.get(match.group(), "")


def texts_of_literal(parts: list[tuple[int, str]]) -> Iterator[Text]:
    """Join neighbouring literals; several lines are a docstring, words are a message."""
    whole = "".join(part for _, part in parts)
    if "\n\n" in whole or "\n--\n" in whole:
        lines: list[tuple[int, str]] = []
        rest = ""
        for number, part in parts:
            *ends, rest = (rest + part).split("\n")
            lines += [(number, line) for line in ends]
        lines.append((parts[-1][0], rest))
        yield Text("docstring", tuple(blocks_of_docstring(lines)))
    elif len(re.findall(r"[A-Za-z]{2,}", whole)) >= 3:
        block = Block(tuple((number, part.strip()) for number, part in parts))
        yield Text("message", (block,))


def blocks_of_docstring(lines: list[tuple[int, str]]) -> Iterator[Block]:
    kept: list[tuple[int, str]] = []
    in_example = False
    for number, line in lines:
        text = line.strip()
        in_example = text.startswith(">>>") or (in_example and text != "")
        if in_example or re.search(r"\w : \S|^:param|^\.\. ", line):
            kept.append((number, ""))  # code, or a parameter's type
        else:
            kept.append((number, line))
    yield from blocks_of_lines(kept, indents=True)


def texts_of_python(text: str) -> Iterator[Text]:
    tree = ast.parse(text)
    strings_of_docs = set()
    for node in ast.walk(tree):
        if not isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        ):
            continue
        first = node.body[0] if node.body else None
        if not isinstance(first, ast.Expr) or not isinstance(first.value, ast.Constant):
            continue
        if isinstance(first.value.value, str):
            strings_of_docs.add(first.value)
            head, _, rest = first.value.value.partition("\n")
            body = f"{head.strip()}\n{textwrap.dedent(rest)}".splitlines()
            lines = list(enumerate(body, first.value.lineno))
            yield Text("docstring", tuple(blocks_of_docstring(lines)))
    parts = {
        value
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for value in node.values
    }
    for node in ast.walk(tree):
        whole = ""
        if not isinstance(node, ast.expr):
            continue
        if isinstance(node, ast.JoinedStr):
            constants = [
                v.value if isinstance(v, ast.Constant) else "x" for v in node.values
            ]
            whole = "".join(map(str, constants))
        elif isinstance(node, ast.Constant) and node not in parts | strings_of_docs:
            whole = node.value if isinstance(node.value, str) else ""
        if len(re.findall(r"[A-Za-z]{2,} ", whole)) >= 2:
            found = enumerate(whole.splitlines(), node.lineno)
            yield Text("message", tuple(blocks_of_lines(found)))
    yield from comments_of_python(text)


def comments_of_python(text: str) -> Iterator[Text]:
    lines: list[tuple[int, str]] = []
    reader = iter(text.splitlines(keepends=True))
    for token in tokenize.generate_tokens(lambda: next(reader, "")):
        if token.type != tokenize.COMMENT or token.string.startswith("#!"):
            continue
        if lines and token.start[0] != lines[-1][0] + 1:
            yield Text("comment", tuple(blocks_of_lines(lines)))
            lines = []
        lines.append((token.start[0], re.sub(r"^#+:?", "", token.string)))
    if lines:
        yield Text("comment", tuple(blocks_of_lines(lines)))


def texts_of_shell(text: str) -> Iterator[Text]:
    lines = [
        (number, line.strip().lstrip("#"))
        if re.match(r"\s*#(?!!)", line)
        else (number, "")
        for number, line in enumerate(text.splitlines(), 1)
    ]
    yield Text("comment", tuple(blocks_of_lines(lines)))


def texts_of(path: Path) -> Iterator[Text]:
    text = path.read_text(encoding="utf-8")
    if path.suffix in (".c", ".h"):
        return texts_of_c(text)
    if path.suffix in (".py", ".pyi"):
        return texts_of_python(text)
    return texts_of_shell(text)


def files(root: Path, patterns: Iterable[str]) -> list[Path]:
    return sorted({path for pattern in patterns for path in root.glob(pattern)})


def areas(root: Path) -> Iterator[tuple[str, Path, Iterable[Block]]]:
    """Give each file's blocks with the area that they belong to."""
    for path in files(root, PAGES):
        yield "pages", path, list(blocks_of_page(path.read_text(encoding="utf-8")))
    for path in files(root, ("include/**/*.h",)):
        for text in texts_of(path):
            yield "header", path, text.blocks
    for path in files(root, PRODUCT):
        for text in texts_of(path):
            yield f"{text.kind}s", path, text.blocks
    for path in files(root, WORKSHOP):
        for text in texts_of(path):
            if text.kind != "message":
                yield "workshop", path, text.blocks


# ---- counting ----


def prose_of(block: Block) -> tuple[str, list[tuple[int, int]]]:
    """Join a block's lines, and say at which offset each line begins."""
    text, starts = "", []
    for number, line in block.lines:
        starts.append((len(text), number))
        text += line + " "
    # Of the same length, so that the offsets stay; the letters count as one word.
    text = CODE.sub(lambda m: "X".ljust(len(m.group()), "X"), text)
    text = re.sub(r"\]\([^)]*\)", lambda m: " " * len(m.group()), text)
    text = re.sub(r"https?://\S+", lambda m: "X" * len(m.group()), text)
    return text.translate(str.maketrans("[]*", "   ")), starts


def sentences(text: str) -> Iterator[tuple[int, str]]:
    start = 0
    for match in SENTENCE_END.finditer(text):
        if not ABBREVIATION.search(text[: match.end()]):
            yield start, text[start : match.end()]
            start = match.end()
    if text[start:].strip():
        yield start, text[start:]


def count_words(text: str) -> int:
    return len(re.findall(r"[A-Za-z0-9_][\w.'’\-/]*", text))  # noqa: RUF001


def findings_of(block: Block) -> Iterator[tuple[int, str, str]]:
    text, starts = prose_of(block)

    def line_at(offset: int) -> int:
        return max((s for s in starts if s[0] <= offset), default=starts[0])[1]

    for match in BANNED.finditer(text):
        yield line_at(match.start()), "words", match.group().strip()
    for start, sentence in sentences(text):
        begin = start + len(sentence) - len(sentence.lstrip())
        words, first = count_words(sentence), " ".join(sentence.split()[:6])
        if words > WORDS_MAX:
            yield line_at(begin), "long", f"{words} words: {first} ..."
        pronouns = [
            match
            for match in PRONOUN.finditer(sentence.strip())
            if match.group().lower() != "that"
            or not NOT_RELATIVE.search(sentence.strip()[: match.start()])
        ]
        if len(pronouns) > 1:
            yield line_at(begin), "nested", f"{len(pronouns)} pronouns: {first} ..."


def measure(root: Path) -> tuple[list[Finding], Counter[str]]:
    """Return the findings of the whole tree, and the number of words in each area."""
    findings: list[Finding] = []
    words: Counter[str] = Counter()
    for area, path, blocks in areas(root):
        name = path.relative_to(root).as_posix()
        for block in blocks:
            words[area] += count_words(prose_of(block)[0])
            findings += [Finding(area, name, *found) for found in findings_of(block)]
    return findings, words


# ---- the record ----


def read_record(path: Path) -> dict[tuple[str, str], int]:
    """Read lines of an area and its counts, in the order of KINDS.

    If a merge left both sides in the file, the lower counts hold, and --update mends it.
    """
    record: dict[tuple[str, str], int] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        if line and line[0] not in "#<=>|":
            area, *counts = line.split()
            for kind, count in zip(KINDS, map(int, counts), strict=True):
                record[area, kind] = min(count, record.get((area, kind), count))
    return record


def write_record(path: Path, counts: Counter[tuple[str, str]], names: list[str]) -> None:
    lines = [
        "# Counts may only fall: see tools/check_prose.py.",
        f"# area {' '.join(KINDS)}",
    ]
    lines += [" ".join([a, *(str(counts[a, k]) for k in KINDS)]) for a in names]
    path.write_text("\n".join(lines) + "\n")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Count the constructions of docs/style.md."
    )
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1])
    parser.add_argument("--record", type=Path, help="default: tools/prose_counts.txt")
    parser.add_argument("--list", nargs="*", metavar="PATH", help="print each finding")
    parser.add_argument("--update", action="store_true", help="record lower counts")
    parsed = parser.parse_args(arguments)
    path = parsed.record or parsed.root / "tools/prose_counts.txt"

    findings, words = measure(parsed.root)
    if parsed.list is not None:
        for f in findings:
            if not parsed.list or any(f.path.startswith(p) for p in parsed.list):
                print(f"{f.path}:{f.line}: {f.kind}: {f.words}")
        return 0

    counts = Counter((f.area, f.kind) for f in findings)
    record = read_record(path)
    rose = [key for key, count in counts.items() if record and count > record.get(key, 0)]
    print(
        f"{'area':<12}{'text':>8}"
        + "".join(f"{kind:>8}" for kind in KINDS)
        + "  per 1,000"
    )
    for area in sorted(words):
        banned = counts[area, "words"] * 1000 / max(words[area], 1)
        row = "".join(f"{counts[area, kind]:>8}" for kind in KINDS)
        print(f"{area:<12}{words[area]:>8}{row}{banned:>11.1f}")
    for area, kind in sorted(rose):
        before = record.get((area, kind), 0)
        print(
            f"{area}: {kind}: {counts[area, kind]} instead of {before}: "
            "rewrite the sentences (tools/check_prose.py --list FILE shows them)",
            file=sys.stderr,
        )
    if parsed.update and not rose:
        write_record(path, counts, sorted(words))
    return 1 if rose else 0


if __name__ == "__main__":
    sys.exit(main())
