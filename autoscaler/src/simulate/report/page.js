// Draws the plots from the numbers in the page, at the width there is, and tells values on hover and touch.
'use strict';
(() => {
  const SVG = 'http://www.w3.org/2000/svg';
  const data = JSON.parse(document.getElementById('data').textContent);
  const colour = (family) => `var(--${family})`;

  function element(parent, name, attributes = {}, text = '') {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text) made.textContent = text;
    parent.append(made);
    return made;
  }
  function html(parent, name, attributes = {}, text = '') {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text) made.textContent = text;
    parent.append(made);
    return made;
  }
  const short = (value) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2));
  const axis = (value) => (value >= 1e6 ? `${value / 1e6} M` : value >= 1e4 ? `${value / 1e3} k` : `${+value.toPrecision(3)}`);
  function clock(seconds, span) {
    const two = (value) => String(Math.floor(value)).padStart(2, '0');
    if (span >= 7200) return `${Math.floor(seconds / 3600)}:${two((seconds % 3600) / 60)} h`;
    return `${Math.floor(seconds / 60)}:${two(seconds % 60)} min`;
  }

  // Round numbers over a range: linear, or 1-2-5 over powers of ten.
  function steps(most, count) {
    const raw = most / count;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= raw);
    return Array.from({ length: Math.floor(most / step + 1e-9) + 1 }, (_, i) => i * step);
  }
  function timeSteps(span, count) {
    const step = [10, 30, 60, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400].find((one) => span / one <= count) || 172800;
    return Array.from({ length: Math.floor(span / step) + 1 }, (_, i) => i * step);
  }
  function logSteps(from, to) {
    const all = [];
    for (let power = Math.floor(Math.log10(from)); power <= Math.ceil(Math.log10(to)); power++) {
      for (const one of [1, 2, 5]) all.push(one * 10 ** power);
    }
    return all.filter((one) => one >= from && one <= to);
  }
  const logScale = ([from, to], [low, high]) => (value) =>
    low + ((Math.log(value) - Math.log(from)) / (Math.log(to) - Math.log(from))) * (high - low);

  function tip(plot) {
    const box = html(plot, 'div', { class: 'tip', hidden: '' });
    return {
      show(x, y, fill) {
        box.replaceChildren();
        fill(box);
        box.hidden = false;
        const left = x + 14 + box.offsetWidth > plot.clientWidth ? x - 14 - box.offsetWidth : x + 14;
        box.style.left = `${Math.max(0, left)}px`;
        box.style.top = `${Math.max(0, y - box.offsetHeight / 2)}px`;
      },
      hide() { box.hidden = true; },
    };
  }

  function mark(parent, kind, x, y, family) {
    const paint = kind === 'tuned'
      ? { fill: 'none', stroke: colour(family), 'stroke-width': 1.3, opacity: .75 }
      : { fill: colour(family), stroke: 'var(--card)', 'stroke-width': 1.5 };
    if (kind === 'default') {
      element(parent, 'path', { d: `M${x} ${y - 7}L${x + 7} ${y}L${x} ${y + 7}L${x - 7} ${y}Z`, ...paint });
    } else {
      element(parent, 'circle', { cx: x, cy: y, r: kind === 'ours' ? 6 : 3.6, ...paint });
    }
  }

  // Cost against p95, both on logarithmic axes: everyone at once.
  function scatter(plot, scenario) {
    const svg = element(plot, 'svg', { role: 'img', 'aria-label': `Cost against p95, ${scenario.name}; the numbers are in the table below` });
    const box = tip(plot);
    let points = [];
    function draw() {
      const width = plot.clientWidth, narrow = width < 560, height = narrow ? 340 : 400;
      const left = 44, right = 14, top = 22, bottom = 42;
      svg.replaceChildren();
      svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
      svg.setAttribute('height', height);
      const rows = scenario.rows.filter((row) => row.hours > 0 && row.p95 > 0);
      if (!rows.length) return;
      const reach = (values) => [Math.min(...values) / 1.15, Math.max(...values) * 1.15];
      const hours = reach(rows.map((row) => row.hours));
      const p95 = reach([...rows.map((row) => row.p95), scenario.target]);
      const x = logScale(hours, [left, width - right]), y = logScale(p95, [height - bottom, top]);
      for (const value of logSteps(...p95)) {
        element(svg, 'line', { class: 'grid', x1: left, x2: width - right, y1: y(value), y2: y(value) });
        element(svg, 'text', { x: left - 6, y: y(value) + 4, 'text-anchor': 'end' }, axis(value));
      }
      for (const value of logSteps(...hours)) {
        element(svg, 'line', { class: 'grid', x1: x(value), x2: x(value), y1: top, y2: height - bottom });
        element(svg, 'text', { x: x(value), y: height - bottom + 17, 'text-anchor': 'middle' }, axis(value));
      }
      element(svg, 'text', { x: left - 38, y: 12 }, 'p95 of the time to the result, s');
      element(svg, 'text', { x: width - right, y: height - 6, 'text-anchor': 'end' }, 'instance-hours');
      element(svg, 'line', { class: 'target', x1: left, x2: width - right, y1: y(scenario.target), y2: y(scenario.target) });
      element(svg, 'text', { x: width - right, y: y(scenario.target) - 5, 'text-anchor': 'end' }, `target ${scenario.target} s`);
      const best = rows.filter((row) => row.frontier).sort((one, other) => one.hours - other.hours);
      element(svg, 'polyline', { class: 'frontier', points: best.map((row) => `${x(row.hours)},${y(row.p95)}`).join(' ') });
      const line = rows.filter((row) => row.family === 'latency').sort((one, other) => one.hours - other.hours);
      element(svg, 'polyline', { fill: 'none', stroke: colour('latency'), 'stroke-width': 1.5, points: line.map((row) => `${x(row.hours)},${y(row.p95)}`).join(' ') });
      const order = { tuned: 0, default: 1, ours: 2 };
      const taken = [];
      points = [...rows].sort((one, other) => order[one.kind] - order[other.kind]).map((row) => ({ row, x: x(row.hours), y: y(row.p95) }));
      for (const { row, x: at, y: height_ } of points) {
        const [low, high] = [row.hours - row.hours_half, row.hours + row.hours_half].map((one) => x(Math.max(one, hours[0])));
        const [slow, fast] = [row.p95 + row.p95_half, row.p95 - row.p95_half].map((one) => y(Math.max(one, p95[0])));
        if (row.kind !== 'tuned') {
          for (const d of [`M${low} ${height_}H${high}`, `M${at} ${slow}V${fast}`]) {
            element(svg, 'path', { d, stroke: colour(row.family), 'stroke-width': 1.5, opacity: .8 });
          }
        }
        mark(svg, row.kind, at, height_, row.family);
      }
      for (const { row, x: at, y: height_ } of [...points].reverse()) {
        if (row.kind === 'tuned') continue;
        const text = row.kind === 'ours' && row.family === 'latency' ? row.settings : row.title;
        const wide = text.length * 6.4, flip = at + 10 + wide > width - right;
        const from = flip ? at - 10 - wide : at + 10;
        const clash = taken.some((one) => Math.abs(one.y - height_) < 13 && from < one.to && one.from < from + wide);
        if (clash) continue;
        taken.push({ y: height_, from, to: from + wide });
        element(svg, 'text', { class: 'label', x: flip ? at - 10 : at + 10, y: height_ + 4, 'text-anchor': flip ? 'end' : 'start' }, text);
      }
    }
    function near(event) {
      const [px, py] = place(svg, event);
      let best = null;
      for (const point of points) {
        const distance = Math.hypot(point.x - px, point.y - py);
        if (distance < 28 && (!best || distance < best.distance)) best = { ...point, distance };
      }
      if (!best) return box.hide();
      const { row } = best;
      box.show(best.x, best.y, (parent) => {
        html(parent, 'div', { style: `color:${colour(row.family)};font-weight:600` }, row.title);
        html(parent, 'div', { class: 'soft' }, `${row.settings}${row.kind === 'tuned' ? ', tuned' : ''}`);
        html(parent, 'div', {}, `p95 ${short(row.p95)} ± ${short(row.p95_half)} s`);
        html(parent, 'div', {}, `${short(row.hours)} ± ${short(row.hours_half)} instance-hours`);
        html(parent, 'div', { class: 'soft' }, `${row.seeds} seeds${row.frontier ? ', on the frontier' : ''}`);
      });
    }
    svg.addEventListener('pointermove', near);
    svg.addEventListener('pointerdown', near);
    svg.addEventListener('pointerleave', () => box.hide());
    return draw;
  }

  function place(svg, event) {
    const frame = svg.getBoundingClientRect();
    return [event.clientX - frame.left, event.clientY - frame.top];
  }

  const PANELS = [
    { title: 'Waiting images', lines: [['queue', 1.8, 1]] },
    { title: 'Instances: ready, and wanted (thin)', lines: [['want', 1, .6], ['ready', 2, 1]] },
    { title: 'p95 of the answers at that time, s', lines: [['p95', 1.8, 1]] },
  ];

  // Queue, instances and p95 over the time of the first seed, one under the other.
  function timelines(plot, legend, scenario) {
    const shown = new Set(scenario.timelines.filter((one) => one.shown));
    const svg = element(plot, 'svg', { role: 'img', 'aria-label': `Queue, instances and p95 over time, ${scenario.name}` });
    const box = tip(plot);
    let x = null, back = null, cursor = null, span = 1;
    function draw() {
      const width = plot.clientWidth, left = 46, right = 10, each = width < 560 ? 120 : 140, gap = 42;
      const height = PANELS.length * (each + gap) + 22;
      svg.replaceChildren();
      svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
      svg.setAttribute('height', height);
      span = Math.max(1, ...scenario.timelines.filter((one) => shown.has(one)).map((one) => one.at[one.at.length - 1] || 0));
      x = (value) => left + (value / span) * (width - left - right);
      back = (px) => ((px - left) / (width - left - right)) * span;
      PANELS.forEach((panel, i) => {
        const top = i * (each + gap) + 30, floor = top + each;
        let most = 1;
        for (const one of shown) for (const [key] of panel.lines) for (const value of one[key]) if (value > most) most = value;
        const y = (value) => floor - (value / most) * each;
        element(svg, 'text', { class: 'label', x: 0, y: top - 14 }, panel.title);
        for (const value of steps(most, 4)) {
          element(svg, 'line', { class: value ? 'grid' : 'axis', x1: left, x2: width - right, y1: y(value), y2: y(value) });
          element(svg, 'text', { x: left - 6, y: y(value) + 4, 'text-anchor': 'end' }, axis(value));
        }
        if (panel.lines[0][0] === 'p95' && scenario.target <= most) {
          element(svg, 'line', { class: 'target', x1: left, x2: width - right, y1: y(scenario.target), y2: y(scenario.target) });
        }
        for (const value of timeSteps(span, width < 560 ? 4 : 9)) {
          element(svg, 'line', { class: 'axis', x1: x(value), x2: x(value), y1: floor, y2: floor + 4 });
          if (i === PANELS.length - 1) {
            element(svg, 'text', { x: x(value), y: floor + 18, 'text-anchor': value ? 'middle' : 'start' }, clock(value, span));
          }
        }
        for (const one of shown) {
          for (const [key, weight, opacity] of panel.lines) {
            let path = '', pen = false;
            one.at.forEach((at, k) => {
              const value = one[key][k];
              if (value === null) { pen = false; return; }
              path += pen && key !== 'p95' ? `H${x(at).toFixed(1)}V${y(value).toFixed(1)}` : `${pen ? 'L' : 'M'}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
              // A point between gaps is a dot.
              if (!pen && (one[key][k + 1] ?? null) === null) path += 'h.01';
              pen = true;
            });
            element(svg, 'path', { d: path, fill: 'none', stroke: colour(one.family), 'stroke-width': weight, opacity, 'stroke-dasharray': one.dashed ? '7 4' : 'none', 'stroke-linejoin': 'round', 'stroke-linecap': 'round' });
          }
        }
      });
      cursor = element(svg, 'line', { class: 'axis', y1: 30, y2: height - gap - 22 + 30, x1: -9, x2: -9 });
    }
    function tell(event) {
      const [px, py] = place(svg, event);
      const at = Math.min(span, Math.max(0, back(px)));
      cursor.setAttribute('x1', x(at));
      cursor.setAttribute('x2', x(at));
      box.show(x(at), py, (parent) => {
        html(parent, 'div', { class: 'soft' }, clock(at, span));
        const table = html(parent, 'table');
        const head = html(table, 'tr');
        for (const title of ['', 'waiting', 'wanted', 'ready', 'p95']) html(head, 'th', {}, title);
        for (const one of shown) {
          let k = one.at.findIndex((value) => value > at);
          k = k < 0 ? one.at.length - 1 : Math.max(0, k - 1);
          const row = html(table, 'tr');
          html(row, 'td', { style: `color:${colour(one.family)};font-weight:600` }, one.title);
          for (const key of ['queue', 'want', 'ready']) html(row, 'td', {}, String(one[key][k] ?? '–'));
          html(row, 'td', {}, one.p95[k] === null ? '–' : `${short(one.p95[k])} s`);
        }
      });
    }
    for (const one of scenario.timelines) {
      const button = html(legend, 'button', { type: 'button', 'aria-pressed': String(shown.has(one)), title: one.settings });
      html(button, 'span', { class: 'dot', style: `background:${colour(one.family)}` });
      button.append(one.title);
      button.addEventListener('click', () => {
        if (shown.has(one)) shown.delete(one); else shown.add(one);
        button.setAttribute('aria-pressed', String(shown.has(one)));
        draw();
      });
    }
    svg.addEventListener('pointermove', tell);
    svg.addEventListener('pointerdown', tell);
    svg.addEventListener('pointerleave', () => { box.hide(); cursor.setAttribute('x1', -9); cursor.setAttribute('x2', -9); });
    return draw;
  }

  const drawings = [];
  data.scenarios.forEach((scenario, i) => {
    const section = document.getElementById(`scenario-${i}`);
    drawings.push(scatter(section.querySelector('.scatter'), scenario));
    if (scenario.timelines.length) {
      drawings.push(timelines(section.querySelector('.over-time'), section.querySelector('.policies'), scenario));
    }
  });
  let last = 0;
  const draw = () => {
    if (document.body.clientWidth === last) return;
    last = document.body.clientWidth;
    for (const one of drawings) one();
  };
  addEventListener('resize', draw);
  draw();
})();
