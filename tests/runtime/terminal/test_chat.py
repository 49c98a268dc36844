"""Whole chats: in pipes, and at a real terminal, which the tests type at and read from."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from exaone4_gguf.demo.conversations import CONVERSATIONS
from exaone4_gguf.errors import ChatError, ContextOverflow, Exaone4Error, GGUFError, SamplingError, ToolError
from exaone4_gguf.runtime.terminal.chat import chat
from exaone4_gguf.runtime.terminal.session import Session
from tests.app.commands.test_chat import DICE
from tests.runtime.terminal.test_screen import on_screen

GREEDY: Any = {"preset": "greedy"}
SMALL = {"n_ctx": 1024, "n_threads": 1}

SCRIPT = """
import os, sys, time
from exaone4_gguf.runtime.llama.context import (Context)
from exaone4_gguf.runtime.terminal.chat import (chat)

evaluate = Context.append
def append(self, tokens):
    sys.stderr.write({mark!r})
    sys.stderr.flush()
    time.sleep({seconds})
    evaluate(self, tokens)
Context.append = append
code = chat({path!r}, {prompt!r}, options={{"preset": "greedy", "reasoning": {reasoning!r}}},
            loading={{"n_ctx": 1024, "n_threads": 1}}, tools={tools!r})
if leave := os.environ.get("LEAVE"):
    os.read(int(leave), 1)
sys.exit(code)
"""
"""A chat in a process of its own, which takes so many seconds for each token.

LEAVE is a pipe on which it waits at its end: the kernel may drop what is unread when a terminal's first process ends.
"""

DICTATED = """
from tests.dictation import dictating
from exaone4_gguf.cli import main
import sys
sys.argv = {arguments!r}
with dictating({text!r}):
    main()
"""
"""The command line, whose model says that text."""

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A process at a terminal of 100 columns."""

    def __init__(self, script: str, stdout: int | None = None, **environ: str) -> None:
        self._master, slave = pty.openpty()
        os.set_inheritable(slave, True)
        leave, self._leave = os.pipe()
        environ = {
            **os.environ,
            "LEAVE": str(leave),
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
            "COLUMNS": "100",
            **environ,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=slave,
            stdout=slave if stdout is None else stdout,
            stderr=slave,
            env=environ,
            pass_fds=(leave,),
            start_new_session=True,
            preexec_fn=_own_terminal,
        )
        os.close(slave)
        os.close(leave)
        self.raw = ""
        self._seen = 0

    def type(self, text: str) -> None:
        """Press these keys."""
        left = memoryview(text.encode())
        while left:
            left = left[os.write(self._master, left[:4096]) :]

    def expect(self, text: str, seconds: float = 20) -> str:
        """Wait until the terminal shows the text, after what was expected before; what came up to it."""
        self.wait(lambda: text in self.shown()[self._seen :], text, seconds)
        found = self.shown().index(text, self._seen)
        came, self._seen = self.shown()[self._seen : found], found + len(text)
        return came

    def wait(self, come: Callable[[], bool], what: str, seconds: float = 20) -> None:
        """Read what the terminal shows until this holds."""
        end = time.monotonic() + seconds
        while not come():
            ready, _, _ = select.select([self._master], [], [], 0.2)
            if ready:
                self.raw += self._read()
            assert time.monotonic() < end, f"{what!r} did not come: {self.shown()[self._seen :]!r}"

    def shown(self) -> str:
        """All that came, without the colours."""
        return ANSI.sub("", self.raw).replace("\r", "")

    def say(self, text: str) -> str:
        """Say a line at the prompt, and return what is answered, up to the status line."""
        self.expect("> ")
        self.type(f"{text}\n")
        return words(self.expect(" tokens/s"))

    def end(self) -> int:
        """Let it end; the exit code."""
        os.write(self._leave, b".")
        return self.process.wait(20)

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        os.close(self._master)
        os.close(self._leave)

    def _read(self) -> str:
        try:
            return os.read(self._master, 65536).decode("utf-8", "replace")
        except OSError:  # Linux: the other side is closed
            time.sleep(0.05)
            return ""


def _own_terminal() -> None:
    """Make stdin the terminal that sends Ctrl-C."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


Start = Callable[..., Terminal]


@pytest.fixture
def start(demo_gguf: Path, tmp_path: Path) -> Iterator[Start]:
    """Start a chat at a terminal."""
    started: list[Terminal] = []

    def start(
        *,
        prompt: str | None = None,
        seconds: float = 0.0,
        reasoning: bool = False,
        tools: Path | None = None,
        stdout: int | None = None,
        history: bool = True,
        **environ: str,
    ) -> Terminal:
        file = tools and str(tools)
        script = SCRIPT.format(
            path=str(demo_gguf), prompt=prompt, seconds=seconds, reasoning=reasoning, tools=file, mark=""
        ).replace("tools=", f"keep_history={history}, tools=")
        started.append(Terminal(script, stdout, XDG_STATE_HOME=str(tmp_path / "state"), **environ))
        return started[-1]

    yield start
    for terminal in started:
        terminal.close()


def words(text: str) -> str:
    """The text in one line, however a terminal broke and painted it."""
    return " ".join(text.split())


def said(name: str, turn: int = 0) -> str:
    """What the demo's model was trained to say."""
    turns = list(CONVERSATIONS[name].turns())
    return turns[turn].completion.rpartition("</think>\n\n")[2]


def test_a_talk(start: Start, tmp_path: Path) -> None:
    terminal = start()
    terminal.expect("a context of 1,024 tokens. /help lists the commands, Ctrl-D leaves.\n")
    assert said("greeting-en") in terminal.say("Hello!")
    assert said("greeting-en", 1) in terminal.say("What can you do?")
    assert "context 99 of 1,024 (10%) · 11" in words(terminal.expect(" cached]"))
    assert said("greeting-en", 1) in terminal.say("/retry")
    terminal.expect("> ")
    terminal.type(f"/save {tmp_path / 'talk.json'}\n")
    terminal.expect("4 messages saved")
    terminal.type("/reset\n")
    terminal.expect("a new conversation")
    assert said("greeting-ko") in terminal.say("안녕하세요!")
    terminal.type(f"/load {tmp_path / 'talk.json'}\n")
    terminal.expect("4 messages loaded")
    assert said("greeting-en", 1) in terminal.say("/retry")
    terminal.type("/exit\n")
    assert terminal.end() == 0
    assert [m["role"] for m in json.loads((tmp_path / "talk.json").read_text())["messages"]] == [
        "user",
        "assistant",
    ] * 2
    assert "안녕하세요!" in (tmp_path / "state/exaone4-gguf/history").read_text()


def test_commands_and_mistakes_end_nothing(start: Start) -> None:
    terminal = start()
    terminal.expect("> ")
    for typed, told in (
        ("/help", "answer the last message again"),
        ("/nothing", "there is no /nothing"),
        ("/load /no/such/file", "/no/such/file: No such file"),
        ("/retry", "nothing to answer again"),
        ("x " * 1500, "more than the context of 1024 takes"),
        ("/reasoning on", "reasoning is on"),
    ):
        terminal.type(f"{typed}\n")
        terminal.expect(told)
    assert re.search("so 3.9 is bigger. .*" + said("reasoning"), terminal.say("Which is bigger, 3.12 or 3.9?"))
    assert "\x1b[2m" in terminal.raw
    terminal.expect("> ")
    terminal.type("\x04")
    assert terminal.end() == 0
    assert "Traceback" not in terminal.raw


@pytest.mark.parametrize(
    "lines", [('"""', "Hello!", '"""'), ('"""Hello!"""',), ("Hell\x7flo!",), ("Helㅁ한\x7f\x7flo!",)]
)
def test_several_lines_and_editing(start: Start, lines: tuple[str, ...]) -> None:
    """The message is the trained one, so its answer is known: Backspace removes whole Korean characters."""
    terminal = start()
    terminal.expect("> ")
    for line in lines:
        terminal.type(f"{line}\n")
    assert said("greeting-en") in terminal.expect(" tokens/s")


def paste(text: str) -> str:
    """As a terminal marks it."""
    return f"\x1b[200~{text}\x1b[201~"


def saved(terminal: Terminal, file: Path) -> list[str]:
    """What was said, as /save keeps it."""
    terminal.expect("> ")
    terminal.type(f"/save {file}\n")
    terminal.expect("messages saved")
    return [m["content"] for m in json.loads(file.read_text())["messages"] if m["role"] == "user"]


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (paste("one\ntwo\nthree"), "one\ntwo\nthree"),
        (paste("one\r\n\r\ntwo\r\n"), "one\n\ntwo"),
        (paste("one\rtwo"), "one\ntwo"),
        ("첫째: " + paste("안녕\n하세요") + " 끝", "첫째: 안녕\n하세요 끝"),
        (paste("a\tb\n\tc"), "a\tb\n\tc"),
        (paste("one\n") + paste("two") + "!", "one\ntwo!"),
        (paste("a\x1b[31mb\x07\x00c\x01\x1b[2\nd"), "a\x1b[31mb\x07c\x01\x1b[2\nd"),
        (paste('"""Doc."""\nx = 1\\'), '"""Doc."""\nx = 1\\'),
        ("ab\x02" + paste("1\n2"), "a1\n2b"),
        (paste(""), ""),
    ],
)
def test_what_is_pasted_is_one_message(start: Start, tmp_path: Path, typed: str, message: str) -> None:
    """Ctrl-B goes a character back."""
    terminal = start(seconds=0)
    terminal.expect("> ")
    assert "\x1b[?2004h" in terminal.raw
    terminal.type(typed + "\r")
    if message:
        terminal.expect(" tokens/s")
    assert saved(terminal, tmp_path / "talk.json") == [message] * bool(message)
    terminal.expect("> ")
    terminal.type("/exit\r")
    assert terminal.end() == 0
    assert "Traceback" not in terminal.raw


def test_a_large_paste(start: Start) -> None:
    """A megabyte: too much for the context, and all of it is there, in one message."""
    terminal = start()
    terminal.expect("> ")
    writing = threading.Thread(target=terminal.type, args=(paste("word \n" * 175_000) + "\r",))
    writing.start()
    terminal.expect("more than the context of 1024 takes", seconds=120)
    writing.join()
    assert int(re.findall(r"the prompt has (\d+) tokens", terminal.shown())[-1]) > 175_000
    assert terminal.shown().count("the prompt has") == 1
    assert said("greeting-en") in terminal.say("Hello!")


def test_a_paste_that_the_terminal_hands_on_in_parts_is_not_echoed(start: Start) -> None:
    """More than the terminal's buffer holds (4 kB): what comes while it is read was shown, with ^M between."""
    terminal = start()
    terminal.expect("> ")
    lines = [f"line {i} of 300, 한글" for i in range(300)]
    first, *rest = paste("\r".join(lines)).partition("\r")
    terminal.type(first)
    erased = "A\r\x1b[J"
    terminal.wait(lambda: erased in terminal.raw, erased)  # readline has given the terminal back
    terminal.type("".join(rest) + "\r")
    terminal.expect("more than the context of 1024 takes", seconds=120)
    assert "^M" not in terminal.raw
    assert "^[" not in terminal.raw
    assert said("greeting-en") in terminal.say("Hello!")


def test_a_paste_whose_end_does_not_come(start: Start, tmp_path: Path) -> None:
    """It ends by itself, or with Ctrl-C; and an end that comes late is nothing."""
    terminal = start()
    terminal.expect("> ")
    terminal.type("\x1b[200~one\ntwo")
    terminal.expect("two")
    terminal.type("!\x1b[201~\r")
    terminal.expect(" tokens/s")
    terminal.expect("> ")
    terminal.type("\x1b[200~lost\n")
    time.sleep(0.5)
    terminal.type("\x03")
    terminal.say("Hello!")
    assert saved(terminal, tmp_path / "talk.json") == ["one\ntwo!", "Hello!"]


def test_what_is_pasted_while_the_model_answers(start: Start, tmp_path: Path) -> None:
    terminal = start(seconds=0.02)
    terminal.expect("> ")
    terminal.type("Hello!\r")
    terminal.expect("Hello! I am")
    terminal.type(paste("one\rtwo") + "\r")
    terminal.expect(" tokens/s")
    terminal.expect(" tokens/s")
    assert saved(terminal, tmp_path / "talk.json") == ["Hello!", "one\ntwo"]


def test_a_message_of_several_lines_is_found_again_in_the_next_talk(start: Start, tmp_path: Path) -> None:
    for typed in (paste("one\ntwo"), "\x1b[A" * 3):
        terminal = start()
        terminal.expect("> ")
        terminal.type(typed + "\r")
        terminal.expect(" tokens/s")
        assert saved(terminal, tmp_path / "talk.json") == ["one\ntwo"]
        terminal.expect("> ")
        terminal.type("/exit\r")
        assert terminal.end() == 0
        (tmp_path / "talk.json").unlink()
    history = tmp_path / "state/exaone4-gguf/history"
    assert history.stat().st_mode & 0o777 == 0o600


def test_no_history(start: Start, tmp_path: Path) -> None:
    terminal = start(history=False)
    terminal.say("Hello!")
    terminal.expect("> ")
    terminal.type("/exit\r")
    assert terminal.end() == 0
    assert not (tmp_path / "state").exists()


def test_ctrl_c_stops_the_answer(start: Start, tmp_path: Path) -> None:
    terminal = start(seconds=0.05)
    terminal.expect("> ")
    terminal.type("Hello!\n")
    terminal.expect("Hello! I am the")
    terminal.type("\x03")
    terminal.expect("[stopped · ")
    terminal.expect("> ")
    terminal.type(f"/save {tmp_path / 'talk.json'}\n")
    terminal.expect("2 messages saved")
    messages = json.loads((tmp_path / "talk.json").read_text())["messages"]
    assert messages[1]["content"].startswith("Hello! I am the")
    assert len(messages[1]["content"]) < len(said("greeting-en"))
    terminal.type("abc\x03")
    terminal.expect("> ")
    terminal.type("\x03\x03")
    assert said("greeting-en", 0)[:6] in terminal.say("/retry")
    terminal.type("/exit\n")
    assert terminal.end() == 0
    assert "Traceback" not in terminal.raw


def test_tools_ask_first(start: Start, tmp_path: Path) -> None:
    (tmp_path / "dice.py").write_text(DICE)
    terminal = start(tools=tmp_path / "dice.py")
    terminal.expect("> ")
    terminal.type("Roll D6 twice!\n")
    terminal.expect("Run roll_dice(sides=6)? [y]es, [n]o, [a]lways: ")
    terminal.type("y\n")
    terminal.expect("roll_dice(sides=6) -> 3")
    terminal.expect("[a]lways: ")
    terminal.type("a\n")
    terminal.expect("roll_dice(sides=6) -> 5")
    terminal.expect("You rolled 3 and 5, 8 in total.")
    assert "Run" not in terminal.say("/retry")


def test_ctrl_c_in_a_tool(start: Start, tmp_path: Path) -> None:
    (tmp_path / "dice.py").write_text(DICE.replace("return", "import time; print('rolling'); time.sleep(60); return"))
    terminal = start(tools=tmp_path / "dice.py")
    terminal.expect("> ")
    terminal.type("Roll D6 twice!\n")
    terminal.expect("[a]lways: ")
    terminal.type("a\n")
    terminal.expect("rolling")
    terminal.type("\x03")
    terminal.expect("the user interrupted it")
    terminal.expect("[stopped")
    terminal.expect("> ")
    assert "Traceback" not in terminal.raw


def test_one_answer_at_a_terminal_ends_with_130_after_ctrl_c(start: Start) -> None:
    terminal = start(prompt="Hello!", seconds=0.05)
    terminal.expect("Hello! I")
    terminal.type("\x03")
    terminal.expect("[stopped")
    assert terminal.end() == 130


def test_a_terminal_without_colours(start: Start) -> None:
    terminal = start(prompt="Which is bigger, 3.12 or 3.9?", reasoning=True, NO_COLOR="1")
    terminal.expect("</think>\n\n" + said("reasoning") + "\n[77 tokens")
    assert terminal.end() == 0
    assert "\x1b" not in terminal.raw


def test_answers_go_to_a_pipe_and_prompts_do_not(start: Start) -> None:
    reader, writer = os.pipe()
    terminal = start(stdout=writer)
    os.close(writer)
    assert said("greeting-ko") not in terminal.say("안녕하세요!")
    terminal.expect("> ")
    terminal.type("\x04")
    assert terminal.end() == 0
    with open(reader, encoding="utf-8") as answers:
        assert answers.read() == said("greeting-ko") + "\n"


def test_ctrl_c_while_a_prompt_is_evaluated(demo_gguf: Path) -> None:
    """Nobody has said anything yet."""
    script = SCRIPT.format(path=str(demo_gguf), prompt="Hello!", seconds=1, reasoning=False, tools=None, mark="~")
    pipes: Any = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", script], **pipes) as process:
        assert process.stderr is not None
        assert process.stderr.read(1) == b"~"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20) == (b"", b"")
        assert process.returncode == 130


def piped(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_one_answer(demo_gguf: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    piped(monkeypatch, "")
    assert chat(demo_gguf, "Hello!", options=GREEDY, loading=SMALL) == 0
    out, err = capsys.readouterr()
    assert out == said("greeting-en") + "\n"
    assert re.fullmatch(r"\[27 tokens · [\d.]+ tokens/s · first after [\d.]+ s · context 39 of 1,024 .*\]\n", err)


def test_what_is_piped_is_the_prompt(
    demo_gguf: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    piped(monkeypatch, "하루는 모두 몇 분인가요?\n")
    chat(demo_gguf, options={"preset": "greedy", "reasoning": True}, loading=SMALL)
    out, err = capsys.readouterr()
    assert out == said("reasoning-ko") + "\n"
    assert err.startswith("<think>\n하루는 24시간이다.")


class Asked(Exception):
    """What was asked, instead of an answer."""


@pytest.mark.parametrize(
    ("text", "prompt", "message"),
    [
        ("a text\n", "summarize", "a text\n\nsummarize"),
        ("\r\n  안녕\r\nline\r\n", "요약해", "  안녕\r\nline\n\n요약해"),
        ("a text", "", "a text"),
        ("", "summarize", "summarize"),
        (" \n ", "summarize", "summarize"),
        ("a text", None, "a text"),
    ],
)
def test_what_is_piped_comes_before_the_prompt(
    demo_gguf: Path, monkeypatch: pytest.MonkeyPatch, text: str, prompt: str | None, message: str
) -> None:
    def ask(session: Session, text: str, view: object) -> None:
        raise Asked(text)

    monkeypatch.setattr(Session, "ask", ask)
    piped(monkeypatch, text)
    with pytest.raises(Asked) as asked:
        chat(demo_gguf, prompt, loading=SMALL)
    assert str(asked.value) == message


def test_a_pipe_that_nobody_writes_to_is_not_awaited_in_silence(demo_gguf: Path) -> None:
    """What comes late is heeded all the same; and Ctrl-C ends the waiting."""
    script = SCRIPT.format(path=str(demo_gguf), prompt="", seconds=0, reasoning=False, tools=None, mark="")
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    told = b"reading a text from stdin, to its end; < /dev/null gives none\n"
    with subprocess.Popen([sys.executable, "-c", script], **pipes) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == told
        out, err = process.communicate(b"Hello!\n", timeout=20)
        assert out.decode() == said("greeting-en") + "\n"
        assert told not in err
    with subprocess.Popen([sys.executable, "-c", script], **pipes) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == told
        process.send_signal(signal.SIGINT)
        assert process.wait(20) != 0


def test_an_endless_stdin(demo_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/zero", encoding="utf-8") as zeros:
        monkeypatch.setattr(sys, "stdin", zeros)
        with pytest.raises(ChatError, match="more than 10,000,000 characters on stdin"):
            chat(demo_gguf, "Hello!")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ChatError, "nothing to answer: give -p PROMPT, or text on stdin"),
        ({"prompt": " "}, ChatError, "nothing to answer"),
        ({"prompt": "a", "options": {"preset": "wild"}}, SamplingError, "no preset 'wild'"),
        ({"prompt": "a", "tools": "/no/such.py"}, ToolError, "/no/such.py: no such file"),
        ({"prompt": "x " * 1500}, ContextOverflow, "more than the context of 1024 takes"),
    ],
)
def test_what_cannot_be_answered(
    demo_gguf: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: dict[str, Any],
    error: type[Exaone4Error],
    message: str,
) -> None:
    piped(monkeypatch, "")
    with pytest.raises(error, match=message):
        chat(demo_gguf, loading=SMALL, **arguments)


def test_no_model(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_text("text")
    for name, message in (("a.gguf", "not a GGUF file"), ("b.gguf", "no such file")):
        with pytest.raises(GGUFError, match=message):
            chat(tmp_path / name, "Hello!")


def test_a_file_that_is_none_is_told_before_what_else_is_lacking(tmp_path: Path, full: Path) -> None:
    """Also where nothing is asked: the user has typed the file."""
    with pytest.raises(GGUFError, match="no such file"):
        chat(tmp_path / "b.gguf")
    with pytest.raises(GGUFError, match="not a file, but a checkpoint; convert makes a GGUF file of it"):
        chat(full)


def test_a_piped_text_in_another_encoding_is_not_read_as_another_text(
    demo_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Korean of Windows (CP949), of which U+FFFD was made in silence."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("안녕하세요!".encode("cp949")), "utf-8"))
    with pytest.raises(ChatError, match="stdin: it is not UTF-8 text .byte 0xbe.; iconv"):
        chat(demo_gguf)


def test_a_closed_stdin(demo_gguf: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "dice.py").write_text(DICE)
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ChatError, match="nothing to answer"):
        chat(demo_gguf)
    assert chat(demo_gguf, "Hello!", options=GREEDY, loading=SMALL, tools=tmp_path / "dice.py") == 0


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_a_closed_stream_is_nowhere(
    closed: str, demo_gguf: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, closed, None)
    assert chat(demo_gguf, "Hello!", options=GREEDY, loading=SMALL) == 0
    shown = capsys.readouterr()
    assert bool(shown.out) == (closed == "stderr")
    assert bool(shown.err) == (closed == "stdout")


def test_too_many_rounds(demo_gguf: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "dice.py").write_text(DICE)
    forced: Any = {"preset": "greedy", "tool_choice": "required"}
    with pytest.raises(ChatError, match="still called tools after 2 rounds"):
        chat(
            demo_gguf,
            "Roll D6 twice!",
            options=forced,
            loading=SMALL,
            tools=tmp_path / "dice.py",
            ask_before_calls=False,
            max_rounds=2,
        )


AGAIN = "One.\n</think>\n\n- Two\n</think>\n\nThree."


def test_thoughts_that_go_on_are_moved(demo_gguf: Path) -> None:
    arguments = ["exaone4-gguf", "chat", str(demo_gguf), "-p", "Hello!", "--reasoning", "-c", "512"]
    script = DICTATED.format(arguments=arguments, text=AGAIN)
    piped = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert piped.stdout == "Three.\n"
    assert piped.stderr.startswith("<think>\nOne.\n\n- Two\n</think>\n\n")
    terminal = Terminal(script)
    try:
        terminal.expect("tokens/s")
        shown = on_screen(terminal.raw)
    finally:
        terminal.close()
    assert shown[:5] == ["One.", "", "- Two", "", "Three."]
    assert "\x1b[2m- Two\x1b[0m" in terminal.raw
