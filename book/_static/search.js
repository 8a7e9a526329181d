// Search as one asks: any word counts, rare ones more, words of titles most; "how do I" counts little.
// The index is Sphinx's own; this ranks what stands in it and shows the list, from a folder, too.

const BookSearch = (() => {
  "use strict";

  // Words that questions are made of. In a title they still say a little: "How much to prune?"
  const SMALL = new Set(
    ("a about after an and any are as at be been before by can could did do does doing for from get has have how i if in " +
      "into is it its just like make many may me more much must my need no not of off on or our own set should so some such take " +
      "than that the their them then there these they this to too use want was way we what when where which while who why " +
      "will with would you your tutorial example explain work works").split(" "),
  );
  const WEIGHTS = { title: 8, heading: 3, term: 3, text: 1, small: 0.4, object: 12 };
  const words = (text) => text.toLowerCase().split(/[^\p{L}\p{N}_]+/u).filter(Boolean);
  const list = (found) => (found === undefined ? [] : [].concat(found));
  const own = (table, key) => (Object.hasOwn(table, key) ? list(table[key]) : []);
  const plain = (html) =>
    html
      .replace(/<[^>]*>/g, "")
      .replace(/&#?\w+;/g, " ")
      .replace(/\\\(.*?\\\)/g, "…")
      .replace(/^ ?\((.*)\)$/, "$1");

  // What is asked: stems of the words that matter (all words where none does), and the small ones.
  function ask(query, stem) {
    const all = [...new Set(words(query))];
    const large = all.filter((word) => !SMALL.has(word) && word.length > 1);
    const chosen = large.length ? large : all;
    return { stems: [...new Set(chosen.map(stem))], small: all.filter((word) => !chosen.includes(word)) };
  }

  function share(text, asked, rarity, stem) {
    const here = words(plain(text));
    const stems = new Set(here.map(stem));
    const hits = asked.stems.filter((word) => stems.has(word));
    const small = hits.length ? asked.small.filter((word) => here.includes(word)).length : 0;
    // what a heading says beside makes it fit less well
    return (hits.reduce((sum, word) => sum + rarity[word], 0) + WEIGHTS.small * small) / (1 + 0.04 * here.length);
  }

  // Pages with something of the query, best first: { page, title, heading, anchor, score }.
  // `counts` says how often a page has a word, where that is known: stem -> page -> times.
  function rank(index, query, stem, counts = {}) {
    const asked = ask(query, stem);
    const total = index.docnames.length;
    const rarity = {};
    const texts = {};
    const times = {};
    const count = (word, page) => (Object.hasOwn(counts, word) && counts[word][page]) || 0;
    const terms = Object.keys(index.terms);
    for (const word of asked.stems) {
      // a long word stands for those it begins: "resnet" for "resnet20"
      const longer = word.length > 4 ? terms.filter((term) => term.startsWith(word)) : [];
      texts[word] = new Set([word, ...longer].flatMap((one) => own(index.terms, one)).concat(own(index.titleterms, word)));
      times[word] = (page) => longer.reduce((sum, one) => sum + count(one, page), longer.includes(word) ? 0 : count(word, page)) || 1;
      rarity[word] = Math.log(1 + total / (1 + texts[word].size));
    }
    const best = index.docnames.map((page, i) => {
      const here = asked.stems.filter((word) => texts[word].has(i) || times[word](page) > 1);
      const text = here.map((word) => rarity[word] * (1 + Math.log(times[word](page))));
      const title = share(index.titles[i], asked, rarity, stem);
      const score = WEIGHTS.text * text.reduce((sum, one) => sum + one, 0) + WEIGHTS.title * title;
      return { page, title: plain(index.titles[i]), heading: "", anchor: "", score, extra: 0, spread: 0, own: title };
    });
    const heading = (i, text, anchor, weight) => {
      const fit = share(text, asked, rarity, stem);
      const page = best[i];
      page.spread += Math.min(fit, 1);
      if (weight * fit <= page.extra) return;
      page.extra = weight * fit;
      if (fit > page.own) Object.assign(page, { heading: plain(text), anchor: `#${anchor}` });
    };
    for (const [text, places] of Object.entries(index.alltitles)) {
      for (const [i, anchor] of places) if (anchor) heading(i, text, anchor, WEIGHTS.heading);
    }
    for (const [text, places] of Object.entries(index.indexentries)) {
      for (const [i, anchor] of places) if (anchor?.startsWith("term-")) heading(i, text, anchor, WEIGHTS.term);
    }
    for (const [prefix, objects] of Object.entries(index.objects)) {
      for (const [i, , , anchor, name] of objects) {
        const whole = [prefix, name].filter(Boolean).join(".");
        if (![name, whole].some((one) => one.toLowerCase() === query.trim().toLowerCase())) continue;
        best[i].extra = WEIGHTS.object;
        Object.assign(best[i], { heading: whole, anchor: `#${anchor || whole}` });
      }
    }
    for (const page of best) page.score += page.extra + Math.log(1 + page.spread);
    return best.filter((page) => page.score > 0).sort((a, b) => b.score - a.score);
  }

  // A text cut at its words, and which of them begin as one of the query does: [[text, isMatch], ...].
  function pieces(text, stems) {
    const parts = text.split(/([\p{L}\p{N}_]+)/u).filter(Boolean);
    return parts.map((part) => [part, stems.some((stem) => part.toLowerCase().startsWith(stem))]);
  }

  function mark(root, stems) {
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    const texts = [];
    while (walker.nextNode()) {
      const inside = walker.currentNode.parentElement;
      if (!inside.closest("script, style, svg, mjx-container, .math, button, .highlighted")) texts.push(walker.currentNode);
    }
    for (const node of texts) {
      const found = pieces(node.textContent, stems);
      if (!found.some(([, isMatch]) => isMatch)) continue;
      const made = found.map(([text, isMatch]) => {
        if (!isMatch) return text;
        const span = document.createElement("span");
        span.className = "highlighted";
        span.textContent = text;
        return span;
      });
      node.replaceWith(...made);
    }
  }

  return { ask, rank, pieces, mark, words: {} };
})();

if (typeof module !== "undefined") module.exports = BookSearch;

// On the search page: Sphinx loads the index and shows progress, the list is ours.
function rankAsAsked() {
  Search.query = (query) => {
    const stemmer = new Stemmer();
    const stem = (word) => stemmer.stemWord(word);
    const { stems } = BookSearch.ask(query, stem);
    const results = BookSearch.rank(Search._index, query, stem, BookSearch.words).slice(0, 30);
    document.getElementById("search-progress")?.replaceChildren();
    for (const result of results) {
      const item = document.createElement("li");
      const link = item.appendChild(document.createElement("a"));
      const found = encodeURIComponent(stems.join(" "));
      link.href = `${result.page}${DOCUMENTATION_OPTIONS.LINK_SUFFIX}?found=${found}${result.anchor}`;
      link.textContent = result.heading ? `${result.title} › ${result.heading}` : result.title;
      Search.output.append(item);
      BookSearch.mark(item, stems);
      if (!DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY) continue;
      const file = `${document.documentElement.dataset.content_root}${result.page}${DOCUMENTATION_OPTIONS.FILE_SUFFIX}`;
      fetch(file)
        .then((answer) => answer.text())
        .then((html) => {
          const summary = Search.makeSearchSummary(html, stems, "");
          if (!summary) return;
          item.append(summary);
          BookSearch.mark(summary, stems);
        });
    }
    _finishSearch(results.length);
  };
}

// On the page that a result leads to, the same words are marked; Escape, which is Sphinx's, takes that away.
if (typeof document !== "undefined")
  document.addEventListener("DOMContentLoaded", () => {
    if (typeof Search !== "undefined") rankAsAsked(); // before Sphinx, which waits for the same event, asks
    const found = new URLSearchParams(location.search).get("found")?.split(" ").filter(Boolean) ?? [];
    const page = document.querySelector(".bd-article");
    if (page && found.length) BookSearch.mark(page, found);
  });
