"""The page in a real browser: what it shows, and that nothing which is said on it can run.

Where Chromium and its driver are not installed (Debian: chromium, chromium-driver), these tests are skipped.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from exaone4_gguf.demo.conversations import CONVERSATIONS
from exaone4_gguf.runtime.chat.answer_stream import AnswerStream, Making
from exaone4_gguf.runtime.events import (
    Content,
    Event,
    Finish,
    Reasoning,
    ToolCallArguments,
    ToolCallBegin,
    ToolCallEnd,
    Usage,
)
from exaone4_gguf.runtime.exaone4 import Exaone4
from exaone4_gguf.runtime.server import serve
from exaone4_gguf.runtime.server.serve import Server
from tests.dictation import dictating
from tests.runtime.server.running import running, wait_until
from tests.runtime.terminal.test_mathematics import FORMULAS

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
WIDE, NARROW = (1200, 850), (360, 740)
BIGGER = "Which is bigger, 3.12 or 3.9?"

ATTACKS = (
    "<script>window.ran = 1</script>",
    "<img src=x onerror='window.ran = 1'>",
    "<svg onload='window.ran = 1'></svg>",
    "<iframe srcdoc='<script>parent.ran = 1</script>'></iframe>",
    "[click](javascript:window.ran=1) [data](data:text/html,<script>parent.ran=1</script>)",
    '![picture](http://elsewhere.invalid/x.png) ![p](x" onerror="window.ran=1)',
    "<a href='javascript:window.ran=1'>a</a> <javascript:window.ran=1>",
    "```html\n</code></pre><script>window.ran = 1</script>\n```",
    '```"><img src=x onerror=window.ran=1>\nx\n```',
    "| <img src=x onerror=window.ran=1> | b |\n|---|---|\n| <script>window.ran=1</script> | `<b>` |",
    "# <img src=x onerror=window.ran=1>\n> <script>window.ran=1</script>\n- <style>*{display:none}</style>",
    "</div></article></main><form action=//elsewhere.invalid><input name=a><button>b</button></form>",
    '[a](http://e.invalid/"onmouseover=window.ran=1//) [b](  JaVaScRiPt:window.ran=1) [c](\x01javascript:window.ran=1)',
    "{{constructor.constructor('window.ran=1')()}} ${window.ran=1} <base href=//elsewhere.invalid>",
)

FORBIDDEN = {"script", "img", "svg", "iframe", "style", "form", "base", "input", "object", "embed", "link", "meta"}

POKE = "document.querySelectorAll('#transcript *').forEach((e) => e.dispatchEvent(new MouseEvent('mouseover')))"
INSIDE = """
    const all = [...document.querySelector('#transcript').querySelectorAll('*')];
    return [all.map((e) => e.localName), all.flatMap((e) => e.getAttributeNames()), all.map((e) => e.href ?? '')];
"""
"""What the transcript consists of: elements, attributes, where links lead."""

MARKDOWN = """# Title

Some *slanted*, **bold**, ~~gone~~ and `code`, a [link](https://example.com/a_(b)?c=d), https://example.org/x.
snake_case_name and 2 * 3 * 4.

1. one
2. two
   - inner
   - more **bold**

> quoted

| a | b |
|:--|--:|
| 1 | 2 |

```python
def f(x):
    return x  # **not bold**
```

---
The end."""


class Echo(Exaone4):
    """The bundled model, but it thinks and says what it was told, and calls a tool of that name, slowly if asked to."""

    def stream(self, messages: Any, tools: Any = None, **options: Any) -> AnswerStream[Event]:
        """The last thing that the user said, in pieces."""
        said = str(next(m["content"] for m in reversed(messages) if m["role"] == "user"))
        thinks, pause = bool(options.get("reasoning")), 0.02 if said.startswith("slowly") else 0
        usage = Usage(10, 0, len(said), 0, 0.1, 0.1)
        return AnswerStream(lambda answer: self._said(answer, said, thinks, pause), usage)

    @staticmethod
    def _said(answer: Making, said: str, thinks: bool, pause: float) -> Generator[Event]:
        pieces = [said[i : i + 7] for i in range(0, len(said), 7)]
        if thinks:
            yield from (Reasoning(piece, piece) for piece in pieces)
        for piece in pieces:
            if answer.cancelled.is_set():
                yield Finish("cancelled")
                return
            time.sleep(pause)
            yield Content(piece, piece)
        if thinks:
            yield ToolCallBegin(0, "call_1", said)
            yield from (ToolCallArguments(0, piece, piece) for piece in pieces)
            yield ToolCallEnd(0)
        yield Finish("tool_calls" if thinks else "stop")


@pytest.fixture(scope="module")
def echo(demo_gguf: Path) -> Iterator[Server]:
    """A server whose model says what it is told."""
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(serve, "open_model", Echo)
            server = stack.enter_context(running(demo_gguf))
        yield server


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield chrome
    chrome.quit()


class Page:
    """The page, and what a reader does on it."""

    def __init__(self, browser: webdriver.Chrome, server: Server, size: tuple[int, int], *, dark: bool) -> None:
        self.browser = browser
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        browser.get(server.url)
        self.js("localStorage.clear(); sessionStorage.clear()")
        browser.get(server.url)
        browser.get_log("browser")  # type: ignore[no-untyped-call]
        wait_until(lambda: self.one("#health[data-state=ready]") or self.js("return settings.open"))

    def js(self, script: str, *arguments: Any) -> Any:
        """What a script on the page gives."""
        return self.browser.execute_script(script, *arguments)

    def all(self, selector: str) -> list[WebElement]:
        """Every element of that kind."""
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement | None:
        """The first of them, if there is any."""
        return next(iter(self.all(selector)), None)

    def the(self, selector: str) -> WebElement:
        """The only one."""
        found = self.all(selector)
        assert len(found) == 1, (selector, len(found))
        return found[0]

    def text(self, selector: str) -> str:
        """The text in it, shown or not."""
        return str(self.js("return document.querySelector(arguments[0])?.textContent ?? ''", selector))

    def begin(self, text: str) -> None:
        """Write, and send."""
        before = len(self.all(".answer"))
        self.js("const p = document.querySelector('#prompt'); p.value = arguments[0]; p.focus()", text)
        self.the("#prompt").send_keys(Keys.ENTER)
        wait_until(lambda: len(self.all(".answer")) > before or self.one(".problem"))

    def say(self, text: str) -> None:
        """Write, send, and wait for the whole answer."""
        self.begin(text)
        self.settled()

    def settled(self) -> None:
        """Wait until nothing is being answered."""
        wait_until(lambda: not self.the("#send").get_attribute("hidden"))

    def click(self, selector: str) -> None:
        """Click the only one."""
        self.the(selector).click()

    def press(self, label: str) -> None:
        """The last button of that name."""
        next(b for b in reversed(self.all("button")) if b.text == label).click()

    def done(self) -> None:
        """Leave the settings; tools are looked at first."""
        self.press("Done")
        wait_until(lambda: not self.js("return settings.open"))

    def errors(self) -> list[str]:
        """What the console says, once."""
        return [entry["message"] for entry in self.browser.get_log("browser")]  # type: ignore[no-untyped-call]


Open = Callable[..., Page]


@pytest.fixture
def opened(browser: webdriver.Chrome, server: Server) -> Iterator[Open]:
    """Opens the page as a new reader does; afterwards its console must be empty."""
    pages: list[Page] = []

    def open_page(on: Server = server, size: tuple[int, int] = WIDE, *, dark: bool = False) -> Page:
        pages.append(Page(browser, on, size, dark=dark))
        return pages[-1]

    yield open_page
    if pages:
        assert not [line for line in pages[-1].errors() if "Failed to load resource" not in line]


def test_a_conversation(opened: Open) -> None:
    page = opened()
    talk = CONVERSATIONS["greeting-en"].messages
    page.click("#prompt")
    page.say(str(talk[0]["content"]))
    assert page.text(".answer .text") == talk[1]["content"]
    page.say(str(talk[2]["content"]))
    assert [e.text for e in page.all(".said")] == [talk[0]["content"], talk[2]["content"]]
    assert page.all(".answer .text")[1].text == talk[3]["content"]
    assert "tokens/s" in page.text(".answer .actions")
    assert page.the("#context").text.endswith("of 2,048 tokens")
    assert page.text("#status") == talk[3]["content"]
    assert page.the("#model").text == "demo"
    page.browser.refresh()
    assert len(page.all(".answer")) == 2
    page.click("#new")
    assert not page.all(".turn")
    assert page.the("#welcome").is_displayed()


def test_thoughts(opened: Open) -> None:
    page = opened()
    page.click("#reasoning")
    assert page.the("#reasoning").get_attribute("aria-checked") == "true"
    page.say(BIGGER)
    thought, answer = (CONVERSATIONS["reasoning"].messages[1][key] for key in ("reasoning_content", "content"))
    assert page.text(".thoughts-text").strip() == thought
    assert page.text(".answer .text") == answer
    assert not page.the(".thoughts").get_attribute("open")
    assert page.text(".thoughts summary").startswith("Thought · ")
    assert int(page.text(".thoughts summary").split()[2]) > 20
    page.click(".thoughts summary")
    assert page.the(".thoughts-text").is_displayed()
    page.click("#reasoning")
    page.press("Retry")
    page.settled()
    wait_until(lambda: page.text(".answer .text") == "3.9 is bigger than 3.12.")
    assert len(page.all(".answer")) == 1
    assert not page.the(".thoughts").is_displayed()


def test_thoughts_that_go_on_are_moved(opened: Open) -> None:
    """The text of the second block, and the card of a call that was quoted in it."""
    page = opened()
    page.click("#reasoning")
    page.click("#open-settings")
    page.click("#tools-example")
    page.press("Done")
    roll = '<tool_call>{"name": "roll_dice", "arguments": {"sides": %d}}</tool_call>'
    with dictating(f"One.\n</think>\n\nTwo.\n{roll % 6}\n</think></think>\n\nThree.\n{roll % 8}"):
        page.say(BIGGER)
    assert page.text(".thoughts-text") == f"One.\n\nTwo.\n{roll % 6}"
    assert page.text(".answer .text") == "Three."
    assert [e.text for e in page.all(".call code")] == ['{"sides": 8}']
    assert page.text("#status") == "Three. The model calls roll_dice."
    page.the(".call textarea").send_keys("5")
    with dictating("Four.\n</think>\n\nFive.\n</think>\n\nSix."):
        page.the(".actions .primary").click()
        wait_until(lambda: len(page.all(".answer")) == 2)
        page.settled()
    wait_until(lambda: page.all(".answer .text")[1].text == "Six.")
    page.browser.refresh()
    assert [e.text for e in page.all(".answer .text")] == ["Three.", "Six."]


def test_calls_are_cards_whose_results_go_back(opened: Open) -> None:
    page = opened(size=NARROW, dark=True)
    page.click("#open-settings")
    page.click("#tools-example")
    page.done()
    page.say("Roll D6 twice!")
    assert [e.text for e in page.all(".call strong")] == ["roll_dice", "roll_dice"]
    assert [e.text for e in page.all(".call code")] == ['{"sides": 6}'] * 2
    send = page.the(".actions .primary")
    assert not send.is_enabled()
    for field, face in zip(page.all(".call textarea"), "35", strict=True):
        field.send_keys(face)
    send.click()
    wait_until(lambda: len(page.all(".answer")) == 2)
    page.settled()
    wait_until(lambda: page.all(".answer .text")[1].text == "You rolled 3 and 5, 8 in total.")


def test_markdown(opened: Open, echo: Server) -> None:
    page = opened(echo)
    page.say(MARKDOWN)
    shown = page.the(".answer .text")
    for tag, text in (("h3", "Title"), ("em", "slanted"), ("del", "gone"), ("blockquote", "quoted"), ("th", "a")):
        assert shown.find_element(By.TAG_NAME, tag).text == text
    assert [e.text for e in shown.find_elements(By.TAG_NAME, "strong")] == ["bold", "bold"]
    links = shown.find_elements(By.TAG_NAME, "a")
    assert [a.get_attribute("href") for a in links] == ["https://example.com/a_(b)?c=d", "https://example.org/x"]
    assert {a.get_attribute("rel") for a in links} == {"noopener noreferrer nofollow"}
    assert [len(e.find_elements(By.XPATH, "./li")) for e in shown.find_elements(By.CSS_SELECTOR, "ol, ul")] == [2, 2]
    assert "snake_case_name and 2 * 3 * 4." in shown.text.replace("\n", " ")
    assert page.text(".answer pre") == "def f(x):\n    return x  # **not bold**"
    assert page.text(".answer figcaption span") == "python"
    assert len(shown.find_elements(By.TAG_NAME, "hr")) == 1


def test_formulas_stay_as_they_are_written(opened: Open, echo: Server) -> None:
    """As at the terminal; and a price is none."""
    page = opened(echo)
    for formula in FORMULAS:
        page.click("#new")
        page.say(formula)
        assert page.js("return document.querySelector('.answer .text').innerText").strip() == formula
        assert not page.all(".answer .text :is(li, em, h3)")
    page.click("#new")
    page.say(r"**$5** and **10$** \* \_ \$ C:\\x `\(code\)`")
    assert page.text(".answer .text") == r"$5 and 10$ * _ $ C:\x \(code\)"


def test_streamed_markdown_is_what_the_whole_text_gives(opened: Open, echo: Server) -> None:
    page = opened(echo)
    script = """
        const [text, done] = arguments;
        import("/page/markdown.js").then(({ Markdown }) => {
          const draw = (...pieces) => {
            const root = document.createElement("div");
            const markdown = new Markdown(root);
            let all = "";
            for (const piece of pieces) markdown.show((all += piece));
            return root.innerHTML;
          };
          done([draw(text), draw(...text)]);
        });
    """
    whole, streamed = page.browser.execute_async_script(script, MARKDOWN)
    assert whole == streamed
    assert "<h3>" in whole


def test_nothing_that_is_said_can_run(opened: Open, echo: Server) -> None:
    """From the user, in thoughts, in the answer, as a tool's name, and in its arguments."""
    page = opened(echo)
    page.click("#reasoning")
    for attack in ATTACKS:
        page.click("#new")
        page.say(attack)
        for place in (".said", ".thoughts-text", ".call strong"):
            assert page.text(place) == attack
        page.js(POKE)
        assert page.js("return window.ran") is None, attack
        tags, attributes, targets = (set(each) for each in page.js(INSIDE))
        assert not tags & FORBIDDEN, attack
        assert not [name for name in attributes if name.startswith(("on", "src", "style"))], attack
        assert all(target.startswith(("http://", "https://", "mailto:")) for target in targets - {""}), attack
        assert page.js("return document.querySelectorAll('a:not([rel*=noopener])').length") == 1, "the skip link alone"


def test_even_the_pages_own_scripts_could_not_insert_html(opened: Open) -> None:
    page = opened()
    script = "try { document.body.innerHTML = '<b>x</b>' } catch (e) { return e.name }"
    assert page.js(script) == "TypeError"
    page.errors()


def test_everything_comes_from_the_server(opened: Open, server: Server) -> None:
    page = opened()
    page.say("Hello!")
    loaded = page.js("return performance.getEntriesByType('resource').map((e) => e.name)")
    assert len(loaded) > 5
    assert all(name.startswith(f"{server.url}/") for name in loaded)


@pytest.mark.parametrize("by", ["button", "key"])
def test_stopping(opened: Open, echo: Server, by: str) -> None:
    """What there is stays, and the server stops as well."""
    page = opened(echo)
    page.begin("slowly " + "word " * 300)
    wait_until(lambda: "word" in page.text(".answer .text"))
    if by == "button":
        page.click("#stop")
    else:
        page.the("body").send_keys(Keys.ESCAPE)
    page.settled()
    assert "stopped" in page.text(".answer .actions")
    assert 0 < page.text(".answer .text").count("word") < 300
    wait_until(lambda: echo.service.engine.running == 0)
    page.say("and again")
    assert page.all(".answer .text")[1].text == "and again"


def test_a_new_chat_lets_go_of_the_old_one(opened: Open, echo: Server) -> None:
    page = opened(echo)
    page.begin("slowly " + "word " * 300)
    wait_until(lambda: "word" in page.text(".answer .text"))
    page.click("#new")
    page.say("hello")
    assert [e.text for e in page.all(".answer .text")] == ["hello"]


def test_an_error_is_told_and_can_be_tried_again(opened: Open) -> None:
    page = opened()
    page.click("#open-settings")
    page.js("document.querySelector('#system').value = arguments[0]", "word " * 3000)
    page.done()
    page.say("Hello!")
    assert page.the(".problem").get_attribute("role") == "alert"
    assert "maximum context length is 2048 tokens" in page.text(".problem")
    page.click("#open-settings")
    page.the("#system").clear()
    page.done()
    page.press("Try again")
    wait_until(lambda: page.text(".answer .text").startswith("Hello! I am"))
    assert not page.all(".problem")
    page.press("Edit")
    assert page.the("#prompt").get_attribute("value") == "Hello!"
    assert not page.all(".turn")


def test_tools_that_are_none_are_told_in_the_settings(opened: Open) -> None:
    page = opened()
    page.click("#open-settings")
    for tools, message in (
        ("[", "This is not JSON: "),
        ("{}", "This is no list of tools"),
        ("null", "This is no list of tools"),
        ('[{"a": 1}]', "a tool's name must be"),
    ):
        page.the("#tools").clear()
        page.the("#tools").send_keys(tools)
        assert not page.text("#tools-wrong")
        page.press("Done")
        wait_until(lambda message=message: message in page.text("#tools-wrong"))
        assert page.the("#tools-wrong").is_displayed()
        assert page.js("return settings.open && document.activeElement.id") == "tools"
        assert page.the("#tools").get_attribute("aria-invalid") == "true"
    page.the("#tools").send_keys(Keys.ESCAPE)
    page.say("Hello!")
    assert page.text(".answer .text").startswith("Hello! I am")
    page.click("#open-settings")
    assert page.the("#tools").get_attribute("value") == ""
    page.the("#tools").send_keys("[]")
    page.done()


def test_a_key_is_asked_for(opened: Open, demo_gguf: Path) -> None:
    with running(demo_gguf, api_keys=("sk-secret",)) as guarded:
        page = opened(guarded)
        wait_until(lambda: page.js("return document.activeElement.id") == "api-key")
        page.the("#api-key").send_keys("sk-secret" + Keys.ENTER)
        wait_until(lambda: page.one("#health[data-state=ready]"))
        page.say("Hello!")
        assert page.text(".answer .text").startswith("Hello! I am")
        assert "sk-secret" not in str(page.js("return JSON.stringify(localStorage)"))


def type_into_the_page(page: Page, text: str) -> None:
    """Type wherever the focus is."""
    ActionChains(page.browser).send_keys(text).perform()


@pytest.mark.parametrize("by", ["click", "key"])
def test_what_is_typed_after_the_settings_is_a_message(opened: Open, demo_gguf: Path, by: str) -> None:
    with running(demo_gguf, api_keys=("sk-secret",)) as guarded:
        page = opened(guarded)
        wait_until(lambda: page.js("return document.activeElement.id") == "api-key")
        page.js("window.closings = 0; settings.addEventListener('close', () => (window.closings += 1))")
        type_into_the_page(page, "sk-wrong" + Keys.ENTER)
        wait_until(lambda: page.js("return window.closings && settings.open && document.activeElement.id") == "api-key")
        page.js("document.querySelector('#api-key').select()")
        type_into_the_page(page, "sk-secret")
        if by == "click":
            page.done()
        else:
            type_into_the_page(page, Keys.ENTER)
            wait_until(lambda: not page.js("return settings.open"))
        type_into_the_page(page, "Hello!" + Keys.ENTER)
        wait_until(lambda: page.text(".answer .text").startswith("Hello! I am"))
        page.settled()
        page.click("#open-settings")
        type_into_the_page(page, Keys.ESCAPE)
        wait_until(lambda: not page.js("return settings.open"))
        type_into_the_page(page, "more")
        assert page.the("#prompt").get_attribute("value") == "more"


def test_a_server_that_has_gone_is_told_until_it_is_back(opened: Open, demo_gguf: Path) -> None:
    with running(demo_gguf) as first:
        port = first.socket.getsockname()[1]
        page = opened(first)
        page.say("Hello!")
        assert not page.the("#server").is_displayed()
    wait_until(lambda: page.the("#server").is_displayed())
    assert "cannot be reached" in page.text("#server")
    page.say("What can you do?")
    assert "cannot be reached" in page.text(".problem")
    with running(demo_gguf, port=port):
        wait_until(lambda: page.one("#health[data-state=ready]"))
        wait_until(lambda: not page.the("#server").is_displayed())
        assert page.text("#status") == "The server is back."
        page.press("Try again")
        wait_until(lambda: len(page.all(".answer")) == 2)
        page.settled()
        assert page.all(".answer .text")[1].text == CONVERSATIONS["greeting-en"].messages[3]["content"]


def test_the_keyboard_is_enough(opened: Open) -> None:
    page = opened()
    assert page.js("return document.activeElement.id") == "prompt"
    field = page.the("#prompt")
    field.send_keys("one" + Keys.SHIFT + Keys.ENTER + Keys.NULL + "two")
    assert field.get_attribute("value") == "one\ntwo"
    composing = "new KeyboardEvent('keydown', { key: 'Enter', isComposing: true, bubbles: true, cancelable: true })"
    page.js(f"document.activeElement.dispatchEvent({composing})")
    assert not page.all(".turn")
    reached = []
    for _ in range(12):
        reached.append(page.js("return document.activeElement.id"))
        page.browser.switch_to.active_element.send_keys(Keys.TAB)
    assert {"reasoning", "send", "new", "open-settings"} <= set(reached)
    page.the("#reasoning").send_keys(Keys.SPACE)
    assert page.the("#reasoning").get_attribute("aria-checked") == "true"


def test_everything_has_a_name(opened: Open) -> None:
    """For those who do not see it."""
    page = opened()
    page.say("Hello!")
    named = "button, input, textarea, select, summary, [role=img], [role=log], dialog"
    shown = [element for element in page.all(named) if element.is_displayed()]
    page.click("#reasoning")
    assert len(shown) > 8
    assert all(element.accessible_name for element in shown)
    page.click("#open-settings")
    inside = page.all("dialog, dialog :is(button, input, textarea, select)")
    assert len(inside) == 10
    assert all(element.accessible_name for element in inside)
    assert page.js("return document.documentElement.lang") == "en"


def test_colours(opened: Open) -> None:
    """As the system's, or as chosen; in both, text can be read."""
    for dark in (False, True):
        page = opened(dark=dark)
        page.say("Hello!")
        for selector in ("body", ".said", ".quiet", ".link", "#send", ".example"):
            assert contrast(page, selector) >= 4.5, (selector, dark)
    page.click("#open-settings")
    page.the("#theme").send_keys("light")
    page.done()
    assert page.js("return getComputedStyle(document.body).backgroundColor") == "rgb(250, 249, 246)"
    page.browser.refresh()
    assert page.js("return getComputedStyle(document.body).backgroundColor") == "rgb(250, 249, 246)"


def contrast(page: Page, selector: str) -> float:
    """WCAG's contrast of an element's text with what is behind it."""
    script = """
        let element = document.querySelector(arguments[0]);
        const of = (colour) => colour.match(/[\\d.]+/g).map(Number);
        const ink = of(getComputedStyle(element).color);
        let paper = [0, 0, 0, 0];
        while (element && (paper.length > 3 && paper[3] === 0)) {
          paper = of(getComputedStyle(element).backgroundColor);
          element = element.parentElement;
        }
        return [ink, paper];
    """
    one, other = (luminance(colour) for colour in page.js(script, selector))
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def luminance(colour: list[float]) -> float:
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in colour[:3])]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_tables_break_between_words_on_a_phone(opened: Open, echo: Server) -> None:
    """What is too wide scrolls; a word that is broken has several rectangles."""
    page = opened(echo, size=NARROW)
    words = (
        "Quantization",
        "internationalization",
        "양자화된",
        "하이퍼파라미터를",
        "3.14159265358979",
        "`rope_theta`",
    )
    page.say("| " + " | ".join(words) + " |\n" + "|---" * len(words) + "|\n" + ("| " + " | ".join(words) + " |\n") * 2)
    script = """
        const broken = [];
        const walker = document.createTreeWalker(document.querySelector('.table'), NodeFilter.SHOW_TEXT);
        while (walker.nextNode()) {
          const range = document.createRange();
          range.selectNodeContents(walker.currentNode);
          if (range.getClientRects().length > 1) broken.push(range.toString());
        }
        return broken;
    """
    assert page.js(script) == []
    assert page.js("return document.querySelector('#scroller').scrollWidth") <= NARROW[0]


def test_a_phone_is_wide_enough(opened: Open, echo: Server) -> None:
    """Long lines scroll where they are; and fields have letters that phones do not zoom into."""
    page = opened(echo, size=NARROW)
    page.click("#reasoning")
    code, table = "```\n" + "long_line " * 40 + "\n```", "| " + "cell | " * 30 + "\n|" + "---|" * 30
    page.say(f"{MARKDOWN}\n\n{code}\n\n{table}\n\n{'w' * 500}")
    for element in ("document.documentElement", "document.querySelector('#scroller')"):
        assert page.js(f"return {element}.scrollWidth") <= NARROW[0]
    assert page.js("return document.documentElement.scrollHeight") <= NARROW[1]
    page.click("#open-settings")
    assert page.js("return document.querySelector('dialog').getBoundingClientRect().right") <= NARROW[0]
    sizes = "return [...document.querySelectorAll('input, textarea, select')].map((e) => getComputedStyle(e).fontSize)"
    assert min(float(size.removesuffix("px")) for size in page.js(sizes)) >= 16
