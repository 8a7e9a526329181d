// How the playground looks, in both themes, from 345 pixels upwards.

export const STYLE = `
#playground { --pg-plus: #0b6b6d; --pg-minus: #b4530f; --pg-dead: #8a8a8a; --pg-unit: #333; --pg-card: #f4f6f6; --pg-edge: #7d8585; --pg-ink: #1f2526; font-size: 1rem; color: var(--pg-ink); margin: 1rem 0 2rem; }
html[data-theme="dark"] #playground { --pg-plus: #5cc8c9; --pg-minus: #f0a36b; --pg-dead: #777; --pg-unit: #ddd; --pg-card: #1d2527; --pg-edge: #8b9596; --pg-ink: #e4e8e8; }
#playground .pg-row { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; margin: .6rem 0; }
#playground button { min-height: 44px; min-width: 44px; padding: .3rem 1.1rem; font: inherit; border: 1px solid var(--pg-edge); border-radius: .5rem; background: var(--pg-card); color: inherit; cursor: pointer; }
#playground button.pg-first { background: var(--pg-plus); border-color: var(--pg-plus); color: #fff; font-weight: 600; min-width: 7rem; }
html[data-theme="dark"] #playground button.pg-first { color: #10201f; }
#playground .pg-status { min-height: 3.2em; margin: .4rem 0; font-weight: 600; }
#playground .pg-two { display: grid; grid-template-columns: 3fr 2fr; gap: 1rem; align-items: start; }
#playground canvas { width: 100%; height: 340px; display: block; background: var(--pg-card); border-radius: .5rem; }
#playground [hidden] { display: none !important; }
#playground h2 { font-size: 1.05rem; margin: 1.2rem 0 .3rem; }
#playground p { margin: .3rem 0; }
#playground svg { display: block; width: 100%; font-size: 13px; overflow: visible; }
#playground svg text { fill: var(--pg-ink); }
#playground .pg-title { font-weight: 600; }
#playground .pg-halo { paint-order: stroke; stroke: var(--pst-color-background, #fff); stroke-width: 4px; }
#playground .pg-band { fill: var(--pg-card); } #playground .pg-odd { fill: none; }
#playground .pg-curve { fill: none; stroke: var(--pg-plus); stroke-width: 1.8; }
#playground .pg-epsilon { fill: none; stroke: var(--pg-minus); stroke-width: 2.5; stroke-dasharray: 7 4; }
#playground .pg-grip { fill: transparent; cursor: ns-resize; touch-action: none; }
#playground .pg-stop { fill: var(--pg-plus); }
#playground .pg-would { fill: none; stroke: var(--pg-minus); stroke-width: 2; }
#playground .pg-axis, #playground .pg-grid { stroke: var(--pg-edge); stroke-width: 1; opacity: .6; fill: none; }
#playground .pg-gap { stroke: var(--pg-minus); stroke-width: 6; }
#playground .pg-reference { stroke: var(--pg-ink); stroke-width: 3; }
#playground .pg-now, #playground .pg-dot { fill: var(--pg-plus); }
#playground .pg-dot { opacity: .55; } #playground .pg-last { opacity: 1; stroke: var(--pg-ink); stroke-width: 2; }
#playground .pg-line { fill: none; stroke: var(--pg-edge); stroke-width: 2; stroke-dasharray: 6 4; }
#playground .pg-constant { fill: var(--pg-edge); stroke: var(--pg-edge); }
#playground .pg-swept { fill: var(--pg-minus); stroke: var(--pg-minus); }
#playground .pg-bar { stroke-width: 1.5; opacity: .7; } #playground .pg-bar.pg-now { stroke: var(--pg-plus); } #playground .pg-pale { opacity: .3; }
#playground .pg-knobs { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: .3rem 1.2rem; }
#playground label { display: block; } #playground label b { float: right; font-weight: 600; }
#playground input, #playground select { font: inherit; color: inherit; width: 100%; min-height: 44px; margin: 0; accent-color: var(--pg-plus); }
#playground summary { min-height: 44px; padding: .6rem 0; cursor: pointer; } #playground dl { display: grid; grid-template-columns: minmax(6rem, 11rem) 1fr; gap: .2rem .8rem; margin: 0; } #playground dd { margin: 0; }
#playground select, #playground input[type="number"], #playground input[type="text"] { background: var(--pg-card); border: 1px solid var(--pg-edge); border-radius: .5rem; padding: 0 .6rem; }
#playground .pg-draw { display: grid; grid-template-columns: minmax(180px, 240px) 96px 1fr; gap: 1rem; align-items: start; }
#playground canvas.pg-pad { width: 100%; height: auto; aspect-ratio: 1; border: 1px solid var(--pg-edge); touch-action: none; cursor: crosshair; color: var(--pg-ink); }
#playground .pg-seen { background: var(--pg-card); } #playground .pg-seen rect { fill: var(--pg-ink); }
#playground button:disabled { opacity: .55; cursor: default; }
#playground .pg-key { font-size: .9rem; } #playground .pg-key i { display: inline-block; width: 1.6em; height: .3em; vertical-align: middle; margin-right: .3em; }
#playground .pg-is-dense { background: var(--pg-edge); } #playground .pg-is-pruned { background: var(--pg-plus); }
@media (max-width: 640px) { #playground .pg-two { grid-template-columns: 1fr; } #playground canvas { height: 280px; } #playground .pg-draw { grid-template-columns: 3fr 1fr; } #playground .pg-draw > :last-child { grid-column: 1 / -1; } }
`;
