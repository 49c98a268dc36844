"""Makes the demo checkpoint: trains its tokenizer and its weights on `conversations.py`, then proves them.

    python app/demo/train.py [OUT_DIR]

Needs exaone4_gguf installed, with torch and transformers. The same machine gives the same bytes each time:
seeds, thread count and order of the data are fixed. The chat template, the model card and the licence
are written by hand and live in the `checkpoint` folder; another OUT_DIR gets copies.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, Exaone4Config, Exaone4ForCausalLM
from transformers.utils.chat_template_utils import render_jinja_template

from exaone4_gguf.demo.conversations import TRAINING, Conversation, Turn

CHECKPOINT = Path(__file__).parent / "checkpoint"
HAND_WRITTEN = ("chat_template.jinja", "README.md", "LICENSE")

SEED = 4
THREADS = 2
STEPS = 350
BATCH_SIZE = 16
PEAK_LEARNING_RATE = 3e-3
WARMUP_STEPS = 20
LOSS_LIMIT = 0.002

# Small enough that some Korean syllables stay in pieces: whoever prints the stream must put them together.
VOCAB_SIZE = 704
END_OF_TURN = "[|endofturn|]"
CONTROL_TOKENS = (
    *("[PAD]", "[BOS]", "[EOS]", "[UNK]", "<|endoftext|>"),
    *("[|system|]", "[|tool|]", "[|assistant|]", "[|user|]", END_OF_TURN),
)
USER_TOKENS = (
    *("<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_result>", "</tool_result>"),
    *(" " * width for width in range(8, 1, -1)),
    "\t\t",
)
ADDED_TOKENS = (*CONTROL_TOKENS, *USER_TOKENS)

LAYERS = 4
CONFIG: dict[str, Any] = {
    "architectures": ["Exaone4ForCausalLM"],
    "attention_dropout": 0.0,
    "head_dim": 32,
    "hidden_act": "silu",
    "hidden_size": 256,
    "initializer_range": 0.06,
    "intermediate_size": 512,
    "layer_types": ["full_attention"] * LAYERS,
    "max_position_embeddings": 8192,
    "model_type": "exaone4",
    "num_attention_heads": 8,
    "num_hidden_layers": LAYERS,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-05,
    "rope_scaling": {
        "factor": 16.0,
        "high_freq_factor": 4.0,
        "low_freq_factor": 1.0,
        "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    },
    "rope_theta": 1000000.0,
    "sliding_window": None,
    "sliding_window_pattern": None,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "vocab_size": VOCAB_SIZE,
}


Model = Any  # transformers' annotations deny its own models generate()


@dataclass(frozen=True)
class Sample:
    """A prompt as the template renders it, and the answer to learn, which ends with the end of turn."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]


# ---- the text


def prompt_text(turn: Turn, talk: Conversation) -> str:
    """The prompt as `apply_chat_template` renders it, which also works before there is a tokenizer."""
    render: Any = render_jinja_template  # its annotation says str where it gives a pair
    prompts, _ = render(
        [turn.messages],
        tools=talk.tools or None,
        chat_template=(CHECKPOINT / "chat_template.jinja").read_text(encoding="utf-8"),
        add_generation_prompt=True,
        enable_thinking=talk.reasoning,
    )
    return str(prompts[0])


def turn_texts() -> dict[tuple[str, str], None]:
    """Prompt and answer of each turn, without repeats: every game of dice opens with the same call."""
    turns = [(turn, talk) for talk in TRAINING for turn in talk.turns()]
    return {(prompt_text(turn, talk), turn.completion + END_OF_TURN): None for turn, talk in turns}


def tokenizer_texts() -> list[str]:
    """Each distinct text between two markers once, so that 72 games of dice do not outvote the rest."""
    markers = "|".join(re.escape(token) for token in ADDED_TOKENS if token.strip())
    pieces = (piece for pair in turn_texts() for text in pair for piece in re.split(markers, text))
    return list(dict.fromkeys(pieces))


# ---- the tokenizer


def train_tokenizer(texts: Sequence[str]) -> Tokenizer:
    """Byte-level BPE over the texts; the added tokens come last, where EXAONE 4 has them first."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE - len(ADDED_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in CONTROL_TOKENS])
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in USER_TOKENS])
    if tokenizer.get_vocab_size() != VOCAB_SIZE:
        raise SystemExit(f"the texts are too short for a vocabulary of {VOCAB_SIZE}: lower VOCAB_SIZE")
    return tokenizer


def tokenizer_config(tokenizer: Tokenizer) -> dict[str, Any]:
    """What transformers reads beside tokenizer.json."""
    added = {
        str(tokenizer.token_to_id(token)): {
            "content": token,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": token in CONTROL_TOKENS,
        }
        for token in ADDED_TOKENS
    }
    return {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": added,
        "bos_token": "[BOS]",
        "clean_up_tokenization_spaces": False,
        "eos_token": END_OF_TURN,
        "errors": "replace",
        "model_max_length": CONFIG["max_position_embeddings"],
        "pad_token": "[PAD]",
        "padding_side": "right",
        "split_special_tokens": False,
        "tokenizer_class": "GPT2Tokenizer",
        "unk_token": "[UNK]",
    }


def write_json(path: Path, value: dict[str, Any]) -> None:
    """In the published files' style: two blanks of indent, sorted keys as given."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_configs(out_dir: Path, tokenizer: Tokenizer) -> None:
    """All files but the weights."""
    ids = {
        "bos_token_id": tokenizer.token_to_id("[BOS]"),
        "eos_token_id": tokenizer.token_to_id(END_OF_TURN),
        "pad_token_id": tokenizer.token_to_id("[PAD]"),
    }
    tokenizer.save(str(out_dir / "tokenizer.json"))
    write_json(out_dir / "tokenizer_config.json", tokenizer_config(tokenizer))
    write_json(out_dir / "config.json", dict(sorted((CONFIG | ids).items())))
    write_json(out_dir / "generation_config.json", ids)
    if out_dir.resolve() != CHECKPOINT.resolve():
        for name in HAND_WRITTEN:
            shutil.copyfile(CHECKPOINT / name, out_dir / name)


# ---- the weights


def encode_samples(tokenizer: Tokenizer) -> list[Sample]:
    """Prompt and answer are encoded apart, because that is how they meet when the model generates."""
    return [
        Sample(tuple(tokenizer.encode(prompt).ids), tuple(tokenizer.encode(answer).ids))
        for prompt, answer in turn_texts()
    ]


def token_loss(model: Model, samples: Sequence[Sample]) -> torch.Tensor:
    """Mean loss on the answers' tokens. Padding follows the text, so causal attention never sees it."""
    length = max(len(sample.prompt) + len(sample.answer) for sample in samples)
    ids = torch.zeros(len(samples), length, dtype=torch.long)
    labels = torch.full_like(ids, -100)
    for row, sample in enumerate(samples):
        start, end = len(sample.prompt), len(sample.prompt) + len(sample.answer)
        ids[row, :end] = torch.tensor(sample.prompt + sample.answer)
        labels[row, start:end] = torch.tensor(sample.answer)
    hidden = model.model(input_ids=ids).last_hidden_state[:, :-1]
    learnt = labels[:, 1:] != -100
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[learnt]), labels[:, 1:][learnt])


def batches(samples: Sequence[Sample]) -> Iterator[list[Sample]]:
    """Endless passes over the samples, each in another order, always the same ones."""
    order = random.Random(SEED)
    while True:
        shuffled = order.sample(samples, len(samples))
        for start in range(0, len(shuffled), BATCH_SIZE):
            yield shuffled[start : start + BATCH_SIZE]


def learning_rate(step: int) -> float:
    """Up in a straight line, then down in another, to nearly nothing."""
    if step < WARMUP_STEPS:
        return PEAK_LEARNING_RATE * (step + 1) / WARMUP_STEPS
    return PEAK_LEARNING_RATE * max(0.01, (STEPS - step) / (STEPS - WARMUP_STEPS))


def train_weights(config: Exaone4Config, samples: Sequence[Sample]) -> Model:
    """AdamW in float32, without weight decay: the model is to remember, not to generalise."""
    torch.manual_seed(SEED)
    model: Model = Exaone4ForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, betas=(0.9, 0.98), weight_decay=0.0)
    for step, batch in zip(range(STEPS), batches(samples), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        loss = token_loss(model, batch)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 20 == 0 or step == STEPS - 1:
            print(f"step {step:4}  loss {loss.item():.5f}", file=sys.stderr)
    return model


def save_weights(model: Model, path: Path) -> None:
    """Rounded to bfloat16; the tied `lm_head.weight` is not stored a second time."""
    tensors = {
        name: tensor.detach().to(torch.bfloat16).contiguous()
        for name, tensor in model.state_dict().items()
        if name != "lm_head.weight"
    }
    path.write_bytes(save(tensors, metadata={"format": "pt"}))


# ---- the proof


def prove(out_dir: Path, samples: Sequence[Sample]) -> float:
    """The stored checkpoint, loaded by transformers, must know every answer; gives its loss."""
    model: Model = Exaone4ForCausalLM.from_pretrained(out_dir, dtype=torch.float32)
    with torch.no_grad():
        losses = [token_loss(model, [sample]).item() for sample in samples]
    lengths = [len(sample.answer) for sample in samples]
    loss = sum(loss * length for loss, length in zip(losses, lengths, strict=True)) / sum(lengths)
    if loss >= LOSS_LIMIT:
        raise SystemExit(f"the loss is {loss:.5f}, not below {LOSS_LIMIT}: raise STEPS")
    tokenizer = AutoTokenizer.from_pretrained(out_dir)
    prove_tokenizer(tokenizer, samples)
    prove_answers(model, tokenizer, samples)
    return loss


def prove_tokenizer(tokenizer: Any, samples: Sequence[Sample]) -> None:
    """Transformers must render and encode what was trained."""
    known = {sample.prompt for sample in samples}
    turns = [(turn, talk) for talk in TRAINING for turn in talk.turns()]
    for turn, talk in turns:
        prompt = tokenizer.apply_chat_template(
            list(turn.messages),
            tools=list(talk.tools) or None,
            add_generation_prompt=True,
            enable_thinking=talk.reasoning,
            return_dict=False,
        )
        if tuple(prompt) not in known:
            raise SystemExit(f"transformers encodes a prompt of {talk.name} in another way than tokenizers")


def prove_answers(model: Model, tokenizer: Any, samples: Sequence[Sample]) -> None:
    """Greedy generation, all prompts of one length at a time: so no padding is needed."""
    by_length: defaultdict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_length[len(sample.prompt)].append(sample)
    for group in by_length.values():
        prompts = torch.tensor([sample.prompt for sample in group])
        outputs = model.generate(
            prompts,
            attention_mask=torch.ones_like(prompts),
            do_sample=False,
            max_new_tokens=1 + max(len(sample.answer) for sample in group),
        )
        for sample, output in zip(group, outputs[:, prompts.shape[1] :].tolist(), strict=True):
            if tuple(output[: len(sample.answer)]) != sample.answer:
                raise SystemExit(f"wrong answer: {tokenizer.decode(output)!r}")


def main(out_dir: Path) -> None:
    """Tokenizer, weights, files, proof."""
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(True)
    started = time.monotonic()
    out_dir.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(tokenizer_texts())
    write_configs(out_dir, tokenizer)
    samples = encode_samples(tokenizer)
    model = train_weights(Exaone4Config.from_pretrained(out_dir), samples)
    save_weights(model, out_dir / "model.safetensors")
    trained = time.monotonic()
    loss = prove(out_dir, samples)
    print(f"{len(samples)} answers by heart, loss {loss:.6f}, trained in {trained - started:.0f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else CHECKPOINT)
