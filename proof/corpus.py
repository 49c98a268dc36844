"""Texts and conversations to compare two tokenizers, two templates and two models on. All written for this purpose."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

PROSE = (
    "서울의 봄은 짧지만 아름답다. 사월이 되면 강변을 따라 벚꽃이 피고, 사람들은 점심시간에도 잠깐 나와 꽃길을 걷는다. "
    "비가 한 번 내리면 꽃잎이 모두 떨어지기 때문에, 일기예보를 보는 눈이 어느 때보다 바빠진다. "
    "할머니는 그 비를 꽃비라고 부르셨다. 젖은 길 위에 분홍색 지도가 그려지는 날이라고.",
    "A lighthouse keeper writes down the weather every evening: wind from the north-west, force five, visibility "
    "twelve miles, pressure 1013 and falling. Nobody has read the book for years, but she goes on. If the numbers were "
    "missing for one single night, she says, the sea might think that it was no longer being watched.",
    "El tren de las siete y cuarto sale siempre con retraso, y nadie se queja. En el andén, don Ramón vende café y "
    "pastelitos de membrillo; la señora Ibáñez lee el periódico de ayer, «porque las noticias de hoy todavía no se han "
    "enfriado». ¿Quién tendría prisa en un pueblo así? Ni siquiera el jefe de estación lleva reloj.",
    'def moving_average(values: list[float], width: int) -> list[float]:\n    """The mean of each window."""\n'
    "    if not 0 < width <= len(values):\n        raise ValueError(f'{width=} does not fit {len(values)} values')\n"
    "    total = sum(values[:width])\n    found = [total / width]\n    for old, new in zip(values, values[width:]):\n"
    "        total += new - old\n        found.append(total / width)\n    return found\n",
    "세 명이 사과 17개를 나누어 가지려고 한다. 한 명당 5개씩 가지면 2개가 남는다. "
    "왜냐하면 3 × 5 = 15이고, 17 − 15 = 2이기 때문이다. "
    "남은 두 개를 반으로 자르면 네 조각이 되므로 여전히 똑같이 나눌 수 없다. 답: 한 명당 5개, 나머지 2개.",
    "To prove that there is no largest prime, suppose that there were one and multiply all primes up to it. Add one. "
    "The result leaves the remainder 1 when divided by any prime on the list, so that each of its prime factors is "
    "missing from the list. The list was not complete; hence no finite list is. Euclid needed fewer words for it.",
    "La receta es sencilla: medio kilo de harina, trescientos mililitros de agua tibia, siete gramos de levadura y una "
    "pizca de sal. Se amasa diez minutos, se deja reposar una hora, se estira con paciencia. El horno, a 250 °C. "
    "Lo difícil no es el pan, sino esperar a que se enfríe.",
    "| 도시 | 인구 (만 명) | 면적 (km²) |\n|---|---:|---:|\n| 부산 | 329 | 770.1 |\n| 대구 | 237 | 1,499.5 |\n"
    "| 제주 | 67 | 1,850.2 |\n\n표에서 보듯이 면적이 가장 넓은 곳은 제주이지만 인구는 가장 적다.",
    "Dear Ms. Okafor,\n\nthank you for your letter of 3 March. We have looked into the matter: the parcel left our "
    "warehouse on the 27th, was weighed twice (2.4 kg, then 2.1 kg), and has not been seen since. A replacement is on "
    "its way, and the difference of 300 g remains a mystery.\n\nYours sincerely,\nthe Department of Small Losses",
    "여행 가방을 싸는 법에는 두 가지가 있다. 하나는 필요한 것을 모두 넣는 것이고, 다른 하나는 없어도 되는 것을 "
    "하나씩 빼는 것이다. 첫 번째 방법은 빠르지만 가방이 무겁고, 두 번째 방법은 느리지만 걸음이 가볍다. "
    "나는 늘 두 번째를 결심하고 첫 번째로 떠난다.",
)
"""Ordinary text in the three languages, for perplexity."""

TRICKY = (
    "I'm sure they'll say we've been HERE before; she'd've 'told you so, y'all. 'tis",
    "3 33 333 3333 3.14159 1e-9 0x1F 192.168.0.1 $99,999.00 50% №7 ½ ²",
    "a  b   c    d     e        f                g\n\n\n\th\t\t\ti \n \n\n  \r\n\r\n   ",
    " leading and trailing ",
    "``````'''''' ------======= ****** //////// \\\\\\\\ ((([[[{{{}}}]]])))",
    "👩‍👩‍👧‍👦 🇰🇷🇪🇸 🦙🦙🦙 ✅ 1️⃣ 👍🏽 naïve café Ωμέγα ≈ç√∫ ﷽ 漢字かなカナ ไทย हिन्दी עברית العربية",
    "e\u0301 \u00e9 \u1112\u1161\u11ab 한 \u00a0\u3000\u200b\u200d\ufeff\u0085 \u0000\x7f \U0001f600\U00020000 \ufffd",
    "카카오톡ㅋㅋㅋㅋ ㅎㅎ ㅠㅠ 값없이 닭볶음탕 뷁 1시간30분 A4용지 e스포츠 iPhone에서",
    "ß ﬁ ĳ İstanbul ǅ ΰ ẞ  \u2028\u2029 x\u0300\u0301\u0302",
    "<b>not a tag</b> <think <|unknown|> [|nobody|] </thin k> <tool_call",
    '{"name": "f", "arguments": {"a": [1, 2.5, null, true], "b": "\\u00e9\\n"}}',
    "SELECT * FROM t WHERE a != 'b' AND c >= 10; -- café\n#include <stdio.h>\nint main(void) { return 0; }",
)
"""Text at which tokenizers part."""


def tokenizer_texts(added: Iterable[str], data: str = "") -> list[str]:
    """What two tokenizers are compared on; each added token alone, between letters, doubled, and overlapping others."""
    tokens = list(added)
    beside = [f(token) for token in tokens for f in (str, "a{}b".format, " {0}{0}\n".format)]
    overlaps = islice(dict.fromkeys(islice(_overlaps(tokens), _OVERLAPS)), _TEXTS)
    pieces = [data[i : i + _PIECE] for i in range(0, len(data), _PIECE)]
    return [*PROSE, *TRICKY, *beside, *overlaps, "".join(tokens), *pieces]


_PIECE = 2000  # characters: a difference is then told with its surroundings
_OVERLAPS, _TEXTS = 1_000_000, 20_000
"""How many are looked at, and tried: runs of blanks give few texts many times."""


def _overlaps(tokens: Sequence[str]) -> Iterator[str]:
    """Texts in which the end of one token is the beginning of another: only one of the two can be found there."""
    beginning = defaultdict(list)
    for token in tokens:
        for end in range(1, len(token)):
            beginning[token[:end]].append(token)
    for token in tokens:
        for at in range(1, len(token)):
            yield from (token[:at] + other for other in beginning.get(token[at:], ()))


@dataclass(frozen=True)
class Conversation:
    """A conversation as a template takes it: tool arguments and results as values, not as JSON text."""

    name: str
    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


_WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city, now.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city"],
        },
    },
}


def _call(**arguments: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "weather", "arguments": arguments}}


CONVERSATIONS = (
    Conversation("a question", [{"role": "user", "content": "오늘 뭐 먹지?"}]),
    Conversation(
        "no prompt for an answer", [{"role": "user", "content": "Hi"}], None, {"add_generation_prompt": False}
    ),
    Conversation(
        "a system prompt and turns",
        [
            {"role": "system", "content": "Answer in one line.\n"},
            {"role": "user", "content": "¿Qué hora es?"},
            {"role": "assistant", "content": "Las siete."},
            {"role": "user", "content": "  And now?  \n"},
        ],
    ),
    Conversation("reasoning", [{"role": "user", "content": "17 × 3?"}], None, {"enable_thinking": True}),
    Conversation(
        "past thoughts",
        [
            {"role": "user", "content": "17 × 3?"},
            {"role": "assistant", "reasoning_content": "17 times 3 is 51.", "content": "51"},
            {"role": "user", "content": "× 2?"},
        ],
        None,
        {"enable_thinking": True},
    ),
    Conversation("tools", [{"role": "user", "content": "부산 날씨 알려줘"}], [_WEATHER]),
    Conversation(
        "calls and results",
        [
            {"role": "system", "content": "You can look up the weather."},
            {"role": "user", "content": "Busan or Seville?"},
            {"role": "assistant", "content": "", "tool_calls": [_call(city="부산"), _call(city="Sevilla", days=2)]},
            {"role": "tool", "content": {"sky": "맑음", "°C": 21.5}},
            {"role": "tool", "content": [{"sky": "nubes"}, None]},
            {"role": "assistant", "content": "Busan."},
            {"role": "user", "content": "Thanks"},
        ],
        [_WEATHER],
        {"enable_thinking": True},
    ),
)
