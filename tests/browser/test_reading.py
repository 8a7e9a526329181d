"""Reading aids: code on and off, tables that fold and sort, cues to scroll, print, weight."""

import gzip

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
CHAPTER = "notebooks/04-mnist"  # has folded cells, long tables and figures
CODE = ".bd-article div.cell > .cell_input"


@pytest.mark.parametrize("over", ["file", "http"])
def test_one_switch_hides_the_code_of_every_chapter_and_is_remembered(open_page, over):
    page = open_page(CHAPTER, over=over)
    switch = page.get_by_role("button", name="Code")
    assert switch.get_attribute("aria-pressed") == "true"
    assert page.locator(CODE).first.is_visible()
    outputs = page.locator(".bd-article .cell_output:visible").count()
    switch.press("Enter")
    assert switch.get_attribute("aria-pressed") == "false"
    assert not page.locator(CODE).first.is_visible()
    assert page.locator(".bd-article .cell_output:visible").count() == outputs
    page.goto(page.url.replace("04-mnist", "01-why-prune"))
    assert page.locator(f"{CODE}:visible").count() == 0
    assert page.get_by_role("button", name="Code").get_attribute("aria-pressed") == "false"
    page.get_by_role("button", name="Code").press("Space")
    assert page.locator(CODE).first.is_visible()


def test_set_up_and_drawing_is_folded_and_opens_by_keyboard(open_page):
    page = open_page("notebooks/01-why-prune")
    imports = page.locator("details:has(.cell_input)", has_text="import matplotlib").first
    assert not imports.locator("pre").is_visible()
    imports.locator("summary").press("Enter")
    assert imports.locator("pre").is_visible()


LONG = ".cell_output table.dataframe:has(tr.folded)"


def test_a_long_table_shows_eight_rows_and_then_all_and_sorts_by_keyboard(open_page):
    page = open_page(CHAPTER)
    table = page.locator(LONG).filter(has_text="non-inferior").first
    visible = table.locator("tbody tr:visible")
    number = table.locator("tbody tr").count()
    assert (visible.count(), number > 40) == (8, True)
    page.evaluate("document.querySelectorAll('table').forEach((t, i) => (t.id ||= `t${i}`))")
    table = page.locator(f"#{table.get_attribute('id')}")
    head = table.locator("thead th", has_text="accuracy")
    column = head.evaluate("cell => cell.cellIndex")
    for way, reverse in (("descending", True), ("ascending", False)):
        head.locator("button").press("Enter")
        assert head.get_attribute("aria-sort") == way
        texts = table.locator("tbody tr").evaluate_all(
            "(rows, i) => rows.map((row) => row.cells[i].textContent)", column
        )
        values = [float(text) for text in texts if text != "–"]
        assert values == sorted(values, reverse=reverse)
    more = table.locator("+ .more-rows")
    more.press("Enter")
    assert more.get_attribute("aria-expanded") == "true"
    assert table.locator("tbody tr:visible").count() == number


def test_no_table_shows_raw_names_or_what_is_not_a_number(site):
    for path in sorted(site.glob("notebooks/*.html")):
        html = path.read_text("utf-8")
        for table in html.split('<table border="1" class="dataframe">')[1:]:
            head, _, body = table.partition("</table>")[0].partition("</thead>")
            assert ">NaN<" not in body, path.name
            assert "_" not in head, path.name


def test_without_scripts_every_row_of_a_table_stands(browser, bases):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{bases['file']}{CHAPTER}.html")
    assert page.locator(".cell_output table.dataframe tbody tr:visible").count() > 40
    assert page.locator(".code-switch:visible, .more-rows").count() == 0
    context.close()


@pytest.mark.parametrize("size", ["phone", "tablet"])
def test_a_box_that_scrolls_fades_towards_what_is_out_of_sight(open_page, size):
    page = open_page(CHAPTER, size=size)
    page.evaluate(
        "document.querySelectorAll('.bd-article details').forEach((d) => (d.open = true))"
    )
    page.wait_for_selector('.bd-article [data-more="right"]')
    box = page.locator('.bd-article [data-more="right"]').first
    assert "gradient" in box.evaluate("element => getComputedStyle(element).maskImage")
    box.evaluate("element => (element.scrollLeft = element.scrollWidth)")
    page.wait_for_function(
        "() => [...document.querySelectorAll('[data-more=left]')].some((e) => e.scrollLeft > 0)"
    )


def test_on_paper_knobs_and_buttons_are_gone_and_rows_and_colours_are_there(open_page):
    page = open_page(CHAPTER)
    page.wait_for_selector(".recorded .knobs input")
    page.emulate_media(media="print")
    assert (
        page.locator(
            ":is(.drawn .knobs, .drawn .buttons, .more-rows, .code-switch):visible"
        ).count()
        == 0
    )
    assert page.locator("tr.folded:visible").count() > 20
    cell = page.locator(".bd-article div.cell_input pre").first
    assert cell.evaluate("element => getComputedStyle(element).breakInside") == "avoid"


def test_what_an_address_leads_to_is_not_painted_over(open_page):
    page = open_page(CHAPTER)
    page.goto(f"{page.url}#turn-the-tolerance")
    heading = page.locator("#turn-the-tolerance > h2")
    style = "element => getComputedStyle(element).{}"
    assert heading.evaluate(style.format("backgroundColor")) == "rgba(0, 0, 0, 0)"
    assert heading.evaluate(style.format("boxShadow")) != "none"


def test_the_sidebar_has_one_ring_around_what_is_focused(open_page):
    page = open_page("book/intro")
    link = page.locator(".bd-sidebar-primary nav a").first
    page.keyboard.press("Tab")
    link.focus()
    style = link.evaluate("e => [getComputedStyle(e).outlineStyle, getComputedStyle(e).boxShadow]")
    assert style == ["solid", "none"]


def test_formulas_and_icons_weigh_only_where_they_are_used(open_page, site):
    page, asked = open_page("book/intro"), []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    page.wait_for_load_state("networkidle")
    files = {url.removeprefix(f"{site.as_uri()}/").partition("?")[0] for url in asked}
    assert not [file for file in files if "mathjax" in file or "fontawesome" in file]
    assert "searchindex.js" not in files
    weigh = [(site / file).read_bytes() for file in files if (site / file).is_file()]
    assert sum(len(gzip.compress(text)) for text in weigh) < 300e3
    icon = page.locator(".theme-switch-button:visible i:visible, .fa-bars:visible").first
    assert icon.evaluate("e => getComputedStyle(e, '::before').content") != "none"


def test_a_missing_page_is_styled_and_leads_on_in_a_copy_hosted_elsewhere(open_page, served, site):
    text = (site / "404.html").read_text("utf-8")
    page = open_page("book/intro", over="http")
    page.route("**/copy/**", lambda route: route.fulfill(body=text, content_type="text/html"))
    page.goto(f"{served}copy/notebooks/no-such-page.html")
    assert page.locator("article").evaluate("e => getComputedStyle(e).maxWidth") != "none"
    links = page.locator("article a").evaluate_all("links => links.map((link) => link.href)")
    assert links == [f"{served}copy/book/intro.html", f"{served}copy/search.html"]
