"""The playground in a page of its own, from a folder and from a server, with no network."""

import json
import re
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import playground_page
import pytest
from playground.test_playground_engine import assert_same, given

from .conftest import SIZES, Opener

PAGE = """<!doctype html><html lang="en" data-theme="{theme}"><title>Playground</title>
<meta charset="utf-8"><meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,"><link rel="stylesheet" href="../_static/book.css">
<style>html {{ background: #fff; color: #222 }} * {{ box-sizing: border-box }}
html[data-theme="dark"] {{ background: #14181e; color: #ced6dd }}</style>
<main class="bd-article"><h1>Prune it yourself</h1>{root}</main></html>"""
QUICK = "#play&epochs=1&fraction=0.5&warmupEpochs=1"


def written(folder):
    """Write a page in each theme, with the script that the book's extension writes."""
    shutil.copytree(playground_page.SOURCES.parent, folder / "_static")
    shutil.copy(Path(__file__).parents[1] / "playground" / "replayed.mjs", folder)
    playground_page.write_scripts(folder)
    (folder / "book").mkdir()
    root = playground_page.ROOT.format(up="../", script=playground_page.SCRIPT)
    for theme in ("light", "dark"):
        page = PAGE.format(theme=theme, root=root)
        (folder / "book" / f"{theme}.html").write_text(page, "utf-8")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return written(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def loopback(folder):
    class Silent(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    handler = partial(Silent, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture
def play_page(browser, folder, loopback):
    """Open the page with some setting in its address; at the end it may have no troubles."""
    bases = {"file": f"{folder.as_uri()}/", "http": loopback}
    opener = Opener(browser, bases)

    def show(setting="", over="file", theme="light", size="desktop"):
        address = f"{bases[over]}book/{theme}.html{setting}"
        return opener(address, size=size, scheme=theme)

    yield show
    opener.close()
    assert not opener.troubles


@pytest.mark.parametrize("rule", ["information", "mask"])
def test_the_engine_comes_to_the_numbers_of_the_library_in_a_page_as_well(play_page, rule):
    replay = """async (given) => {
      const [{ run }, { replayed }] = await Promise.all(
        ["/_static/playground/loop.mjs", "/replayed.mjs"].map((path) => import(path)));
      return replayed(run, given);
    }"""
    assert_same(rule, json.loads(play_page(over="http").evaluate(replay, given(rule))))


def data(page):
    return page.evaluate("({...document.querySelector('#playground').dataset})")


def press(page, name):
    page.get_by_role("button", name=name).click()


def listen(page):
    page.evaluate(
        "window.ran = null; addEventListener('playground:run',"
        " (event) => (window.ran = event.detail), { once: true })"
    )


def heard(page):
    """What the event of the next finished run says."""
    return page.wait_for_function("window.ran", timeout=60_000).json_value()


def finished(page, button="Full run"):
    listen(page)
    press(page, button)
    return heard(page)


@pytest.mark.parametrize(("over", "button"), [("file", 0), ("http", 2)], ids=["Play", "Full run"])
def test_one_press_of_a_button_trains_and_prunes_without_another_touch(play_page, over, button):
    page = play_page(over=over)
    assert data(page)["state"] == "idle"
    run = finished(page, page.locator("#playground button").nth(button).inner_text())
    found = data(page)
    assert found["state"] == "done"
    assert float(found["density"]) == run["density"] <= 0.2
    assert float(found["accuracy"]) == run["accuracy"] >= 0.85
    assert float(found["epochs"]) == pytest.approx(run["epochs"])
    assert len(run["stops"]) == int(found["level"]) + 1
    said = page.locator("#playground [role=status]").first.inner_text()
    assert re.match(r"Done: 17 % of the weights left, [\d.]+ epochs .* test accuracy \d\d", said)


def test_the_line_at_epsilon_is_dragged_and_other_levels_stop(play_page):
    page = play_page(QUICK)
    before, chart = finished(page), page.locator("#playground .pg-drag")
    chart.scroll_into_view_if_needed()
    box = chart.locator(".pg-grip").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x, y + 20, steps=3)
    page.mouse.move(x, y + 120, steps=3)
    listen(page)
    page.mouse.up()
    after = heard(page)
    assert after["settings"]["epsilon"] < before["settings"]["epsilon"] == 0.25
    assert sum(after["stops"]) > sum(before["stops"])
    assert page.locator("#playground .pg-dot").count() == 2


def test_the_tolerance_is_turned_by_keyboard_too(play_page):
    page = play_page(QUICK)
    knob = page.locator("#playground .pg-eps")
    knob.press("ArrowRight")
    assert float(knob.get_attribute("aria-valuetext")) > 0.25
    assert "epsilon=" in page.evaluate("location.hash")
    assert data(page)["state"] == "idle"


def test_the_address_restores_the_setting_and_equal_settings_give_equal_runs(play_page):
    page = play_page(QUICK)
    page.get_by_label("A level ends by").select_option("mask")
    page.get_by_label("After pruning").select_option("go on from here")
    page.get_by_label("Units in a hidden layer").select_option("12")
    page.get_by_label("Seed").fill("7")
    page.get_by_label("Seed").press("Tab")
    run, setting = finished(page), page.evaluate("location.hash")
    found = {name: run["settings"][name] for name in ("rule", "rewind", "units", "seed")}
    assert found == {"rule": "mask", "rewind": 0, "units": 12, "seed": 7}
    again = play_page(setting)
    assert again.get_by_label("Seed").input_value() == "7"
    assert finished(again) == run
    press(again, "Reset")
    assert again.evaluate("location.hash") == ""
    assert again.get_by_label("Seed").input_value() == "0"
    assert data(again)["state"] == "idle"


@pytest.mark.parametrize(
    "setting", ["#play&epsilon=x&seed=-3&rule=none&epochs=1e9&text=<b>", "#title"]
)
def test_an_address_that_makes_no_sense_breaks_nothing(play_page, setting):
    page = play_page(setting)
    assert page.get_by_label("A level ends by").input_value() == "information"
    assert page.get_by_label("Seed").input_value() == "0"
    assert "NaN" not in page.locator("#playground").inner_text()


def test_play_pauses_and_goes_on_and_a_step_is_one_check(play_page):
    page = play_page()
    press(page, "Play")
    page.wait_for_function("Number(document.querySelector('#playground').dataset.epochs) > 1")
    press(page, "Pause")
    page.wait_for_timeout(200)
    here = float(data(page)["epochs"])
    page.wait_for_timeout(200)
    assert float(data(page)["epochs"]) == here
    press(page, "Step")
    page.wait_for_function(
        "before => Number(document.querySelector('#playground').dataset.epochs) > before", arg=here
    )
    assert float(data(page)["epochs"]) <= here + 0.4


def test_a_run_stands_beside_the_line_of_its_own_seed_and_a_sweep_ends_with_a_verdict(play_page):
    page = play_page(f"{QUICK}&rule=loss")
    finished(page)
    words = page.locator("#playground .pg-verdict")
    done = page.locator("#playground .pg-status")
    words.filter(has_text="the same cost comes to").wait_for()
    assert re.search(r"gained \S+ ± [\d.]+ points, (within|more)", done.inner_text())
    assert page.locator("#playground rect.pg-constant").count() >= 2
    press(page, "Sweep")
    words.filter(has_text=re.compile("Over 5 seeds the rule lies (on|above|below)")).wait_for()
    told = r"Its timetable alone, told by the other seeds: .+ ± .+ So looking added .+ ±"
    assert re.search(told, words.inner_text())
    assert page.locator("#playground circle.pg-swept").count() == 1


#: Keeps what stands beside each run at the moment it is finished, before any line can be there.
AT_THE_END = """() => addEventListener("playground:run", () => {
  const text = (name) => document.querySelector(`#playground ${name}`).textContent;
  window.first = [text(".pg-status"), text(".pg-verdict"),
    document.querySelectorAll("#playground .pg-bar.pg-now").length];
}, { once: true })"""


def test_a_run_is_no_win_before_its_control_is_there(play_page):
    page = play_page(QUICK)
    page.evaluate(AT_THE_END)
    finished(page)
    status, words, bars = page.evaluate("window.first")
    assert re.search(r"test accuracy [\d.]+ ± [\d.]+ %", status)
    assert status.endswith("not yet compared with a fixed number of epochs of the same cost.")
    assert words.startswith("Not yet compared")
    assert bars == 1
    press(page, "Sweep")
    assert "a verdict follows at its end" in page.locator("#playground .pg-verdict").inner_text()


def test_the_chosen_rule_is_explained_and_the_last_density_is_what_the_prunings_leave(play_page):
    page = play_page()
    menu = page.get_by_label("A level ends by")
    said = set()
    for rule in menu.locator("option").evaluate_all("all => all.map((each) => each.value)"):
        menu.select_option(rule)
        described = page.locator(f"#{menu.get_attribute('aria-describedby')}")
        assert described.is_visible()
        said.add(described.inner_text())
    assert len(said) == 7
    goal = page.locator("label", has=page.get_by_label("Down to"))
    assert "8 prunings: 17 %" in goal.inner_text()
    page.get_by_label("Down to").select_option("0.05")
    assert "14 prunings: 4 %" in goal.inner_text()


def test_a_sweep_that_is_stopped_says_what_it_holds_and_no_more(play_page):
    page = play_page(QUICK)
    press(page, "Sweep")
    page.wait_for_function(
        """() => {
          const text = document.querySelector("#playground").innerText;
          if (!(Number(text.match(/(\\d+) of \\d+ runs/)?.[1]) >= 60)) return false;
          const buttons = [...document.querySelectorAll("#playground button")];
          buttons.find((button) => button.textContent === "Stop the sweep").click();
          return true;
        }"""
    )
    shown = page.locator("#playground circle.pg-swept").count()
    said = page.locator("#playground .pg-verdict").inner_text()
    assert 1 < shown <= 20
    assert re.search(rf"Over {shown} tolerances and [2-5] seeds the rule lies", said)
    assert "So looking added" not in said


def test_a_rule_that_a_reader_writes_trains_and_stands_in_the_address(play_page):
    page = play_page(QUICK)
    page.get_by_label("A level ends by").select_option("own")
    line = page.get_by_label("A level ends when")
    assert line.input_value() == "loss <= ref_loss"
    assert not page.locator("#playground .pg-eps").is_visible()
    chart = page.locator("#playground .pg-drag")
    assert chart.locator(".pg-title").inner_text() == "training loss, in nats"
    assert not page.get_by_text("With the tolerance as it stands").is_visible()
    line.fill("information < x and los")
    assert line.get_attribute("aria-invalid") == "true"
    trouble = page.locator("#playground [role=status]").filter(has_text="This rule cannot be read")
    assert trouble.inner_text().startswith("This rule cannot be read. In column 21: “los” is not")
    line.press("Tab")
    assert "text=" not in page.evaluate("location.hash")
    line.fill("information < x and epoch >= 0.6")
    assert line.get_attribute("aria-invalid") == "false"
    line.press("Enter")
    assert page.locator("#playground .pg-eps").is_visible()
    assert chart.locator(".pg-title").first.inner_text().startswith("distance of the information")
    assert chart.locator(".pg-halo").text_content() == "x = 0.5"
    assert page.get_by_role("button", name="Sweep: 20 values of x × 5 seeds, 220 runs").is_visible()
    run, setting = finished(page), page.evaluate("location.hash")
    assert "rule=own&text=information%20%3C%20x%20and%20epoch%20%3E%3D%200.6" in setting
    assert min(run["stops"]) > 0.6
    title = page.locator("#playground .pg-dot title").text_content()
    assert title.startswith("information < 0.5 and epoch >= 0.6: ")
    again = play_page(setting)
    assert again.get_by_label("A level ends when").input_value() == run["settings"]["text"]
    assert finished(again) == run
    summary = again.get_by_text("Words that a rule may use")
    assert summary.bounding_box()["height"] >= 44
    summary.click()
    assert again.get_by_text("validation accuracy after the warm-up").is_visible()


def test_a_drawn_digit_is_read_by_the_dense_and_the_pruned_network(play_page):
    page = play_page(QUICK)
    pad, words = page.locator("#playground .pg-pad"), page.locator("#playground [role=status]").last
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + 30
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x, y + 120, steps=5)
    page.mouse.up()
    assert words.inner_text() == "The networks answer after a run: press Play."
    finished(page)
    answers = r"Dense network: \d \(\d+ %\)\. With 13 % of the weights: \d \(\d+ %\)\."
    words.filter(has_text=re.compile(f"^{answers}$")).wait_for()
    drawn = page.locator("#playground .pg-draw rect:is(.pg-constant, .pg-now)")
    assert drawn.count() == 20
    assert pad.evaluate("pad => getComputedStyle(pad).touchAction") == "none"
    press(page, "Clear")
    assert words.inner_text() == "Nothing is drawn yet."
    assert drawn.count() == 0


def test_without_a_pointer_test_images_are_read_and_one_on_which_the_networks_differ(play_page):
    page = play_page(QUICK)
    words = page.locator("#playground [role=status]").last
    differ = page.get_by_role("button", name="One they disagree on")
    assert differ.is_disabled()
    finished(page)
    page.get_by_role("button", name="A test image").press("Enter")
    words.filter(has_text=re.compile(r"weights: \d \(\d+ %\)\. It is a \d\.$")).wait_for()
    page.wait_for_function("!document.querySelector('#playground .pg-row:last-child :disabled')")
    before = words.inner_text()
    differ.press("Enter")
    words.filter(has_not_text=before).wait_for()
    dense, pruned = re.findall(r": (\d) \(", words.inner_text())
    assert dense != pruned


@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_too_wide_and_what_a_finger_meets_is_large_enough(play_page, size):
    page = play_page(QUICK, size=size)
    finished(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]
    touched = page.locator("#playground :is(input, select, button):visible").all()
    assert len(touched) == 17
    assert min(box.bounding_box()["height"] for box in touched) >= 44


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("rule", ["information", "own"])
def test_it_keeps_no_reader_out(play_page, barriers, theme, rule):
    page = play_page(f"{QUICK}&rule={rule}", theme=theme)
    finished(page)
    assert not barriers(page)


def test_without_javascript_a_picture_and_a_sentence_stand_there(browser, folder):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{folder.as_uri()}/book/light.html")
    assert "It needs\n JavaScript" in page.locator("#playground p").text_content()
    assert page.locator("#playground img").bounding_box()["height"] > 100
    context.close()
