"""The command line: right answers on stdout, one line on stderr and exit code 2 for what is wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from exaone4_gguf import cli
from exaone4_gguf.demo.conversations import CONVERSATIONS
from exaone4_gguf.format.file import read_gguf
from exaone4_gguf.quant.native import instructions
from exaone4_gguf.version import __version__
from tests.checkpoints import full_config, hybrid_config, random_tensors, write_checkpoint

ROOT = Path(__file__).parents[2]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line; exit code, stdout, stderr."""

    def run(*args: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["exaone4-gguf", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run


def test_convert_prints_the_path(run: Run, full: Path, tmp_path: Path) -> None:
    code, out, err = run("convert", full, tmp_path / "a.gguf", "--outtype", "q4_k")
    assert (code, out) == (0, f"{tmp_path / 'a.gguf'}\n")
    assert "a.gguf written: Q4_K_M" in err
    assert "\r" not in err  # no bar where there is no terminal


def test_a_folder_gets_a_file_named_after_the_model(run: Run, full: Path, tmp_path: Path) -> None:
    code, out, _ = run("convert", full, tmp_path, "--outtype", "Q8_0")
    assert (code, Path(out.strip()).name) == (0, "EXAONE-4.0-Tiny-Q8_0.gguf")


def test_quantize(run: Run, full_gguf: Path, tmp_path: Path) -> None:
    assert run("quantize", full_gguf, tmp_path / "a.gguf", "Q8_0")[0] == 0
    code, _, err = run("quantize", tmp_path / "a.gguf", tmp_path / "b.gguf", "Q4_0")
    assert code == 2
    assert "is Q8_0 already; quantize the original, or pass --allow-requantize" in err
    assert run("quantize", tmp_path / "a.gguf", tmp_path / "b.gguf", "Q4_0", "--allow-requantize")[0] == 0


def test_a_dry_run_tells_the_plan_and_the_size(run: Run, full: Path, tmp_path: Path) -> None:
    code, out, _ = run("convert", full, tmp_path / "a.gguf", "--outtype", "Q4_K_M", "--dry-run")
    assert code == 0
    assert not (tmp_path / "a.gguf").exists()
    assert re.search(r"token_embd.weight +704 x 256 +BF16 -> Q6_K", out)
    size = re.search(r"a.gguf: ([\d,]+) bytes", out)
    run("convert", full, tmp_path / "a.gguf", "--outtype", "Q4_K_M")
    assert size is not None
    assert int(size[1].replace(",", "")) == (tmp_path / "a.gguf").stat().st_size


def test_options_reach_the_file(run: Run, full: Path, tmp_path: Path) -> None:
    options = ("--tensor-type", "attn_v=q8_0", "--tensor-type", "ffn_down=F16", "--token-embedding-type", "q4_0")
    assert run("convert", full, tmp_path / "a.gguf", "--outtype", "Q4_K_M", *options)[0] == 0
    types = {n: t.type.name for n, t in read_gguf(tmp_path / "a.gguf").tensors.items()}
    assert types["blk.3.attn_v.weight"] == "Q8_0"
    assert types["blk.0.ffn_down.weight"] == "F16"
    assert types["token_embd.weight"] == "Q4_0"
    assert run("convert", full, tmp_path / "b.gguf", "--outtype", "Q4_K_M", "--pure")[0] == 0
    assert {t.type.name for t in read_gguf(tmp_path / "b.gguf").tensors.values()} == {"Q4_K", "F32"}


def test_splitting(run: Run, full: Path, tmp_path: Path) -> None:
    code, out, _ = run("convert", full, tmp_path / "a.gguf", "--split-max-size", "1M")
    assert code == 0
    assert len(out.splitlines()) > 2
    assert run("inspect", out.splitlines()[1])[0] == 0


def test_inspect_shows_a_file_and_a_folder(run: Run, hybrid: Path, full_gguf: Path) -> None:
    code, out, _ = run("inspect", full_gguf)
    assert code == 0
    assert "GGGG" in out
    assert "chat, reasoning, tools" in out
    assert "LLLGLLLG" in run("inspect", hybrid)[1]


def test_inspect_json_is_for_programs(run: Run, full: Path, full_gguf: Path) -> None:
    file, folder = (json.loads(run("inspect", path, "--json")[1]) for path in (full_gguf, full))
    assert (file["kind"], folder["kind"]) == ("gguf", "checkpoint")
    for key in ("weights", "bytes", "layers", "types", "tokens", "template", "tensors", "tied"):
        assert file[key] == folder[key]


def broken(tmp_path: Path, name: str) -> Path:
    """A checkpoint with one fault."""
    folder = write_checkpoint(tmp_path / "model", full_config(), shards=2)
    shard = folder / "model-00001-of-00002.safetensors"
    if name == "no config":
        (folder / "config.json").unlink()
    elif name == "missing shard":
        shard.unlink()
    elif name == "truncated shard":
        shard.write_bytes(shard.read_bytes()[:-100])
    elif name == "no tokenizer":
        (folder / "tokenizer.json").unlink()
    elif name == "no weights":
        for file in folder.glob("model*"):
            file.unlink()
    elif name == "a window at 4 layers":
        (folder / "config.json").write_text(json.dumps(full_config(sliding_window=32)))
    return folder


FAULTS = {
    "no config": "config.json: no such file",
    "missing shard": "model-00001-of-00002.safetensors: the shard is missing",
    "truncated shard": "truncated: tensor",
    "no tokenizer": "no tokenizer",
    "no weights": "no weights",
    "a window at 4 layers": "--allow-wrong-in-llama-cpp writes the file all the same",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_checkpoint_is_one_line_and_exit_code_2(fault: str, run: Run, tmp_path: Path) -> None:
    folder = broken(tmp_path, fault)
    before = sorted(tmp_path.rglob("*"))
    code, out, err = run("convert", folder, tmp_path / "out.gguf")
    assert (code, out) == (2, "")
    assert re.fullmatch(r"exaone4-gguf: .*\n", err)
    assert FAULTS[fault] in err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("convert", "{full}"), "Missing argument 'OUT'"),
        (("convert", "/no/such/folder", "a.gguf"), "/no/such/folder: no such folder"),
        (
            ("convert", "{full}/config.json", "a.gguf"),
            "config.json: it is a file; give the folder of the checkpoint, {full}",
        ),
        (
            ("convert", "{gguf}", "a.gguf"),
            "it is a GGUF file, and a checkpoint's folder is wanted here; quantize takes",
        ),
        (
            ("convert", "{full}", "Q4_K_M"),
            "Q4_K_M is a type, and the target's name is missing; write it before: OUT.gguf --o",
        ),
        (
            ("convert", "{full}", "a.gguf", "q4_k_m"),
            "unexpected extra argument (q4_k_m); did you mean --outtype q4_k_m?",
        ),
        (("convert", "{full}", "a.gguf", "b.gguf"), "unexpected extra argument (b.gguf) (try"),
        (("convert", "a.gguf", "{full}"), "MODEL_DIR comes first: exaone4-gguf convert {full} a.gguf"),
        (("convert", "a.gguf"), "to quantize a GGUF file: exaone4-gguf quantize a.gguf OUT.gguf TYPE"),
        (("quantize", "Q4_0", "{gguf}", "b.gguf"), "TYPE comes last: exaone4-gguf quantize {gguf} b.gguf Q4_0"),
        (
            ("convert", "{full}", "--outfile", "a.gguf"),
            "No such option: --outfile; the target is given without an option",
        ),
        (("convert", "{full}", "a.gguf", "--split-max-size", "10"), "10 is a size in bytes; write it like 10M or 10G"),
        (("quantize", "{full}", "a.gguf", "Q8_0"), "not a file, but a checkpoint; convert makes a GGUF file of it"),
        (
            ("quantize", "{gguf}", "Q4_K_M"),
            "Q4_K_M is a type, and the target's name is missing; write it before: OUT.gguf Q4",
        ),
        (("quantize", "{gguf}", "Q4_K", "a.gguf"), "Q4_K is a type, and the target's name is missing"),
        (("chat", "{gguf}", "hello there"), "unexpected extra argument (hello there); did you mean -p 'hello there'?"),
        (("chat", "-m", "{gguf}"), "No such option: -m; the file is given without an option"),
        (("verify", "{gguf}", "{full}"), "MODEL_DIR comes first: exaone4-gguf verify {full} {gguf}"),
        (("verify", "{gguf}", "{gguf}"), "it is a GGUF file, and a checkpoint's folder is wanted here"),
        (("verify", "{full}", "{full}"), "not a file, but a checkpoint"),
        (("imatrix", "a.gguf", "{full}", "--data", "x"), "MODEL_DIR comes first: exaone4-gguf imatrix {full} a.gguf"),
        (("convert", "{full}", "a.gguf", "--outtype", "Q3"), "unknown type 'Q3'; one of: F32, F16, BF16, Q8_0"),
        (("convert", "{full}", "/no/such/a.gguf"), "/no/such: no such folder"),
        (("convert", "{full}", "{gguf}"), "it exists already; --force replaces it"),
        (("convert", "{full}", "a.gguf", "--threads", "0"), "0 is not in the range"),
        (("convert", "{full}", "a.gguf", "--tensor-type", "attn_v"), "write it as REGEX=TYPE"),
        (("convert", "{full}", "a.gguf", "--tensor-type", "(=Q8_0"), "not a regular expression"),
        (("convert", "{full}", "a.gguf", "--tensor-type", "a=Q9"), "unknown tensor type 'Q9'; one of"),
        (("convert", "{full}", "a.gguf", "--split-max-size", "5X"), "'5X' is not a size"),
        (("quantize", "{gguf}", "{gguf}", "Q8_0", "--force"), "the target is the input itself"),
        (("quantize", "{full}/config.json", "a.gguf", "Q8_0"), "not a GGUF file"),
        (("quantize", "none.gguf", "a.gguf", "Q8_0"), "none.gguf: no such file"),
        (("inspect", "none.gguf"), "none.gguf: no such file"),
        (("inspect", "n" * 300), "File name too long"),
        (("convert", "{full}", ""), "the target has no name"),
        (("convert", "{full}", "new/"), "new/: no such folder"),
        (("inspect", "{full}/tokenizer.json"), "not a GGUF file"),
        (("nonsense",), "No such command 'nonsense'"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    args: tuple[str, ...], message: str, run: Run, full: Path, full_gguf: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*(a.format(full=full, gguf=full_gguf) for a in args))
    assert (code, out) == (2, "")
    assert re.fullmatch(r"exaone4-gguf: .*\n", err)
    assert message.format(full=full, gguf=full_gguf) in err
    assert not list(tmp_path.iterdir())


def test_an_option_without_effect_is_told_on_stderr(full: Path, tmp_path: Path) -> None:
    done = shell(f"PROGRAM convert {full} {tmp_path}/a.gguf --tensor-type none=q8_0")
    assert "--tensor-type none=Q8_0 has no effect: it matches no tensor" in done.stderr
    assert done.stdout == f"{tmp_path / 'a.gguf'}\n"


def test_a_window_may_be_written_if_asked_by_name(run: Run, tmp_path: Path) -> None:
    config = hybrid_config(num_hidden_layers=4, layer_types=hybrid_config()["layer_types"][:4])
    folder = write_checkpoint(tmp_path / "model", config, random_tensors(config))
    assert run("convert", folder, tmp_path / "a.gguf")[0] == 2
    assert run("convert", folder, tmp_path / "a.gguf", "--allow-wrong-in-llama-cpp")[0] == 0
    assert "llama.cpp never uses a window" in run("inspect", tmp_path / "a.gguf")[1]


def test_ctrl_c_is_one_line(run: Run, full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("exaone4_gguf.converter.pipeline.run", interrupted)
    code, _, err = run("convert", full, tmp_path / "a.gguf")
    assert (code, err.strip()) == (130, "exaone4-gguf: interrupted; nothing was written")
    assert not list(tmp_path.iterdir())


def test_a_repository_that_cannot_be_fetched(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    code, _, err = run("convert", "LGAI-EXAONE/none", tmp_path / "a.gguf")
    assert code == 2
    assert "LGAI-EXAONE/none: no such folder, and the Hugging Face Hub gives none: " in err


def test_the_demo_answers(run: Run) -> None:
    """A greeting, a reasoned answer with its thoughts on stderr, and dice that were really rolled."""
    code, out, err = run("demo")
    assert code == 0
    greeting, answer, dice = (line for line in out.splitlines() if line)
    assert greeting == CONVERSATIONS["greeting-ko"].messages[1]["content"]
    assert answer == CONVERSATIONS["reasoning"].messages[1]["content"]
    assert CONVERSATIONS["reasoning"].messages[1]["reasoning_content"] in err
    rolled = [int(n) for n in re.findall(r"roll_dice\(sides=6\) -> ([1-6])", err)]
    assert dice == f"You rolled {rolled[0]} and {rolled[1]}, {sum(rolled)} in total."


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("exaone4-gguf convert a b --outtype q4_k", ["Q4_K_M", "Q4_K_S"]),
        ("exaone4-gguf convert a b --outtype bf", ["BF16"]),
        ("exaone4-gguf quantize a b iq4", ["IQ4_NL", "IQ4_XS"]),
        ("exaone4-gguf chat a --preset ", ["answer", "reasoning", "steady", "korean", "greedy"]),
        ("exaone4-gguf chat a --preset st", ["steady"]),
        ("exaone4-gguf chat a -ctk q8", ["q8_0"]),
        ("exaone4-gguf convert a b --token-embedding-type q6", ["Q6_K"]),
        ("exaone4-gguf fit a --device rpi5", ["rpi5-8gb", "rpi5-16gb"]),
    ],
)
def test_a_shell_completes_types_and_presets(words: str, completed: list[str]) -> None:
    asked = {
        **os.environ,
        "_EXAONE4_GGUF_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    program = "import sys; sys.argv[0] = 'exaone4-gguf'; from exaone4_gguf.cli import main; main()"
    answer = subprocess.run([sys.executable, "-c", program], env=asked, capture_output=True, text=True, timeout=60)
    assert sorted(answer.stdout.split()) == sorted(f"plain,{name}" for name in completed)


def help_texts() -> str:
    """Every command's --help, as docs/cli.md holds it."""
    group = click.Context(cli.cli, info_name="exaone4-gguf", terminal_width=100, **cli.cli.context_settings)
    contexts = [group]
    contexts += [click.Context(c, info_name=name, parent=group) for name, c in cli.cli.commands.items()]
    return "\n".join(f"## {c.command_path}\n\n```\n{c.get_help()}\n```\n" for c in contexts)


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the project by a shell; PROGRAM in it is the program."""
    command = command.replace("PROGRAM", f"{sys.executable} -m exaone4_gguf")
    return subprocess.run(
        ["/bin/sh", "-c", command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        env=os.environ | environment,
        timeout=300,
    )


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- 2>&-"])
def test_a_closed_stream_is_nowhere(closed: str) -> None:
    assert shell(f"PROGRAM demo {closed}").returncode == 0


@pytest.mark.parametrize(
    "command", ["demo", "inspect {}", "inspect {} --json", "chat {} -p hi -n 4", "--version", "-h"]
)
@pytest.mark.parametrize(("to", "reason"), [(">&-", "Bad file descriptor"), (">/dev/full", "No space left on device")])
def test_an_answer_that_is_lost_is_no_success(to: str, reason: str, command: str, demo_gguf: Path) -> None:
    done = shell(f"PROGRAM {command.format(demo_gguf)} {to}")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"exaone4-gguf: stdout: {reason}"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["chat {} -p hi", "serve {} --port 0", "embed {}"])
def test_a_folder_in_place_of_a_file_is_to_be_converted(command: str, full: Path) -> None:
    done = shell(f"PROGRAM {command.format(full)}")
    assert done.returncode == 2
    assert done.stderr.endswith(f"{full}: not a file, but a checkpoint; convert makes a GGUF file of it\n")


def test_a_closed_stdout_harms_nobody_who_prints_nothing(demo_gguf: Path, tmp_path: Path) -> None:
    assert shell(f"PROGRAM inspect {tmp_path}/none.gguf >&-").stderr.endswith("none.gguf: no such file\n")


ASCII_ONLY = {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("environment", [{}, ASCII_ONLY, {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "POSIX"}])
def test_korean_is_read_and_written_right_whatever_the_locale(environment: dict[str, str], demo_gguf: Path) -> None:
    greeting = CONVERSATIONS["greeting-ko"].messages
    options = f"chat {demo_gguf} --temp 0 -n 60"
    for command in (
        f"PROGRAM {options} -p '{greeting[0]['content']}'",
        f"echo '{greeting[0]['content']}' | PROGRAM {options}",
    ):
        done = shell(command, **environment)
        assert (done.returncode, done.stdout.strip()) == (0, greeting[1]["content"])


def test_a_prompt_that_is_not_utf8_is_refused(demo_gguf: Path) -> None:
    done = shell(f"PROGRAM chat {demo_gguf} -p \"$(printf '\\377')\"")
    assert done.returncode == 2
    assert "it is not UTF-8 text" in done.stderr


def test_the_version_says_which_kernels_are_used(run: Run) -> None:
    code, out, _ = run("--version")
    assert (code, out) == (0, f"exaone4-gguf {__version__}, quantizing with {instructions()[0]}\n")


def test_docs_and_help_agree() -> None:
    """After a change: python -m tests.app.test_cli."""
    assert help_texts() in (ROOT / "docs" / "cli.md").read_text()


if __name__ == "__main__":
    (ROOT / "docs" / "cli.md").write_text(f"# The command line\n\n{help_texts()}")
