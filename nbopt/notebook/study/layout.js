/* Where the parts of a study's panel are: made once, filled by study.js. */

/**
 * @param {HTMLElement} el
 * @param {Record<string, string>} said
 */
export function layStudy(el, said) {
  el.classList.add('nbopt-fan', 'nbopt-trials');
  el.innerHTML = `
    <button type="button" class="nbopt-champion"><span></span></button>
    <div class="nbopt-trials-side"></div>
    <div class="nbopt-trials-main">
      <div class="nbopt-fan-charts">
        <figure>
          <figcaption><b></b><button type="button" class="nbopt-fan-log"></button></figcaption>
          <div><canvas role="img"></canvas><canvas aria-hidden="true"></canvas><p></p></div>
        </figure>
        <figure>
          <figcaption><select></select><i></i><select></select><span></span></figcaption>
          <div><canvas role="img"></canvas><canvas aria-hidden="true"></canvas><i class="nbopt-zoom-box"></i></div>
        </figure>
      </div>
      <figure class="nbopt-par">
        <figcaption><label><span></span><select></select></label><em role="status"></em>
          <button type="button"></button><button type="button"></button></figcaption>
        <div></div>
      </figure>
      <div class="nbopt-fan-rows">
        <div class="nbopt-fan-count"><input type="search"><span role="status"></span><button type="button"></button></div>
      </div>
    </div>
    <div class="nbopt-tip"></div>`;
  const all = (/** @type {string} */ what) => /** @type {any[]} */ ([...el.querySelectorAll(what)]);
  const [y, x, by] = all('select');
  const [log, narrow, clear] = all('figcaption button');
  const [fan, fanOver, scatter, scatterOver] = all('canvas');
  const [filter] = all('input[type=search]');
  const [none] = all('.nbopt-fan-count button');
  x.setAttribute('aria-label', said.across);
  y.setAttribute('aria-label', said.upward);
  all('figcaption label span')[0].textContent = said.by;
  all('figcaption > i')[0].textContent = said.against;
  log.textContent = said.log;
  narrow.textContent = said.narrow;
  narrow.title = said.narrow_tip;
  narrow.className = 'nbopt-narrow';
  clear.textContent = said.clear;
  filter.placeholder = said.filter_hint;
  filter.setAttribute('aria-label', said.filter);
  none.textContent = said.none;
  return {
    best: /** @type {HTMLButtonElement} */ (all('.nbopt-champion')[0]),
    champion: /** @type {HTMLElement} */ (all('.nbopt-champion span')[0]),
    side: /** @type {HTMLElement} */ (all('.nbopt-trials-side')[0]),
    fanTitle: /** @type {HTMLElement} */ (all('figcaption > b')[0]),
    held: /** @type {HTMLElement} */ (all('figcaption > span')[0]),
    empty: /** @type {HTMLElement} */ (all('figure p')[0]),
    parallel: /** @type {HTMLElement} */ (all('.nbopt-par > div')[0]),
    brushed: /** @type {HTMLElement} */ (all('.nbopt-par em')[0]),
    table: /** @type {HTMLElement} */ (all('.nbopt-fan-rows')[0]),
    count: /** @type {HTMLElement} */ (all('.nbopt-fan-count span')[0]),
    tip: /** @type {HTMLElement} */ (all('.nbopt-tip')[0]),
    box: /** @type {HTMLElement} */ (all('.nbopt-zoom-box')[0]),
    x: /** @type {HTMLSelectElement} */ (x),
    y: /** @type {HTMLSelectElement} */ (y),
    by: /** @type {HTMLSelectElement} */ (by),
    log: /** @type {HTMLButtonElement} */ (log),
    narrow: /** @type {HTMLButtonElement} */ (narrow),
    clear: /** @type {HTMLButtonElement} */ (clear),
    none: /** @type {HTMLButtonElement} */ (none),
    filter: /** @type {HTMLInputElement} */ (filter),
    fan: /** @type {HTMLCanvasElement} */ (fan),
    fanOver: /** @type {HTMLCanvasElement} */ (fanOver),
    scatter: /** @type {HTMLCanvasElement} */ (scatter),
    scatterOver: /** @type {HTMLCanvasElement} */ (scatterOver)
  };
}
