// Draws the charts of a page of bench with uPlot. What is in them is decided in charts.go, and stands in the page as JSON:
// see type drawing in chart.go. Values that nothing can show are null there.
(() => {
'use strict'
const {phases = [], charts} = JSON.parse(document.getElementById('drawing').textContent)
const page = document.getElementById('charts')
const font = '12px system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'

// Colours are the page's variables, which follow the reader's light or dark.
const styles = getComputedStyle(document.documentElement)
const color = (name) => styles.getPropertyValue(`--${name}`).trim()

// ---- How values are written ----

const digits = (v, n) => Number(v.toPrecision(n)).toLocaleString('en', {maximumSignificantDigits: n})
const inUnits = (v, n, base, names) => {
  let i = 0
  while (i < names.length - 1 && v >= base ** (i + 1) * 0.9995) i++
  return digits(v / base ** i, n) + names[i]
}
const quantities = {
  us: {
    tick: (v) => inUnits(v, 4, 1000, [' us', ' ms', ' s']),
    text: (v) => inUnits(v, 3, 1000, [' us', ' ms', ' s']),
  },
  count: {
    tick: (v) => inUnits(v, 4, 1000, ['', 'k', 'M', 'G']),
    text: (v) => v < 1000 ? digits(v, 3) : Math.round(v).toLocaleString('en'),
  },
  cores: {
    tick: (v) => digits(v, 4),
    text: (v) => digits(v, 3),
  },
  bytes: {
    tick: (v) => inUnits(v, 4, 1024, [' B', ' KiB', ' MiB', ' GiB', ' TiB']),
    text: (v) => inUnits(v, 4, 1024, [' B', ' KiB', ' MiB', ' GiB', ' TiB']),
    steps: Array.from({length: 50}, (_, i) => 2 ** i),
  },
}
const shown = (v) => Number.isFinite(v)
const percentile = (nines) => {
  const decimals = Math.max(0, Math.ceil(nines) - 1)
  return `${Number((100 * (1 - 10 ** -nines)).toFixed(decimals))} %`
}
const percentileTick = (nines) => nines > 2 ? percentile(nines).replace(' %', '') : percentile(nines)

// ---- The axis from left to right ----

const largest = (values, otherwise) => values.reduce((most, v) => shown(v) && v > most ? v : most, otherwise)
const ends = (kind) => largest(charts.filter((c) => c.x === kind).flatMap((c) => c.lines.flatMap((l) => l.px)), 0)
const wholeTime = [0, Math.max(ends('seconds'), largest(phases.map((p) => p.to), 0)) || 1] // the same for all charts over time
const phaseAt = (seconds) => phases.find((p) => p.from <= seconds && seconds <= p.to)?.name

const axes = {
  seconds: () => ({
    whole: wholeTime,
    text: (x) => [phaseAt(x), `${digits(x, x < 10 ? 2 : 4)} s`].filter(Boolean).join(', '),
    axis: {
      incrs: [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400],
      values: (u, at, axis, space, step) => at.map((s) => step >= 60 ? `${s / 60} min` : `${digits(s, 6)} s`),
      space: 56,
    },
  }),
  percentile: (chart, whole = [0, largest(chart.lines.flatMap((l) => l.px), 0) || 1]) => ({
    whole,
    text: (x) => x === whole[1] ? 'largest' : percentile(x),
    axis: {
      splits: (u, axis, from, to) => {
        const kept = []
        let right = Infinity // the pixel where the label to the right begins
        for (const x of [8, 7, 6, 5, 4, 3, 2, 1, Math.log10(2), 0]) { // 99.999999 % to 90 %, 50 %, 0 %
          const pixel = (x - from) / (to - from) * (u.width - 70)
          const half = percentileTick(x).length * 3.5
          if (x < from || x > to || pixel + half + 4 > right) continue
          kept.unshift(x)
          right = pixel - half
        }
        return kept
      },
      values: (u, at) => at.map(percentileTick),
    },
  }),
  steps: (chart) => ({
    whole: [-0.3, chart.steps.length - 0.7],
    text: (x) => chart.steps[x],
    axis: {splits: () => chart.steps.map((_, i) => i), values: () => chart.steps},
  }),
}

// ---- The axis from bottom to top ----

const fromZero = (u, min, max) => [0, max > 0 ? max * 1.08 : 1]
// A logarithmic axis covers at least a factor of four: differences of a few per cent should look like what they are.
const logarithmic = (u, min, max) => {
  if (!(max > 0)) return [1, 10]
  const middle = Math.sqrt(min * max)
  return [Math.min(min / 1.2, middle / 2), Math.max(max * 1.2, middle * 2)]
}
const logTicks = (u, axis, min, max) => {
  const at = []
  for (let power = Math.floor(Math.log10(min)); power <= Math.log10(max); power++) {
    for (const digit of max / min > 300 ? [1] : [1, 2, 5]) at.push(Number(`${digit}e${power}`))
  }
  return at.filter((v) => min <= v && v <= max)
}
const widthOfLabels = (u, labels, axis) => {
  if (!labels) return 40
  u.ctx.font = u.axes[axis].font[0]
  return Math.ceil(Math.max(...labels.map((text) => u.ctx.measureText(text ?? '').width)) / uPlot.pxRatio) + 12
}

// ---- One chart ----

const all = [] // {chart, u}

function draw(chart) {
  const {whole, text, axis} = axes[chart.x](chart)
  const quantity = quantities[chart.y]
  const named = chart.x === 'seconds' && phases.length > 0 // phases need room for their names
  const canShow = (y) => shown(y) && (y > 0 || !chart.log)
  const data = uPlot.join(chart.lines.map((l) => [l.px, l.py.map((y) => canShow(y) ? y : null)]))

  const figure = document.createElement('figure')
  const title = figure.appendChild(document.createElement('figcaption'))
  title.textContent = chart.title
  if (chart.note) title.appendChild(document.createElement('small')).textContent = chart.note
  const legend = makeLegend(chart, quantity, text)
  const plot = document.createElement('div')
  plot.className = 'plot'
  plot.setAttribute('role', 'img')
  plot.setAttribute('aria-label', chart.title)
  figure.append(legend.element, plot)
  page.append(figure)

  const size = () => ({width: Math.max(plot.clientWidth, 120), height: plot.clientWidth < 420 ? 220 : 250})
  const u = new uPlot({
    ...size(),
    legend: {show: false},
    padding: [named ? 20 : 8, chart.x === 'percentile' ? 20 : 14, 0, 0],
    scales: {
      x: {time: false, range: (u, min, max) => within(whole, data[0], min, max)},
      y: chart.log ? {distr: 3, range: logarithmic} : {range: fromZero},
    },
    axes: [
      {font, stroke: () => color('ink2'), grid: {show: false}, ticks: {show: false}, size: 28, gap: 6, ...axis},
      {
        font, stroke: () => color('ink2'), grid: {stroke: () => color('grid'), width: 1}, ticks: {show: false}, gap: 6, size: widthOfLabels,
        values: (u, at) => at.map(quantity.tick), incrs: quantity.steps, space: 36, ...(chart.log && {splits: logTicks, filter: (u, at) => at}),
      },
    ],
    series: [{}, ...chart.lines.map((line, i) => ({
      label: line.name, stroke: () => color(`c0${line.color}`), width: 1.75, dash: line.dashed ? [5, 4] : undefined,
      points: {fill: () => color(`c0${line.color}`), width: 0, size: 6, ...pointsOf(chart, data[i + 1])},
    }))],
    cursor: {
      y: false,
      drag: {x: chart.x !== 'steps', y: false, dist: 6},
      points: {size: 8, width: 2, fill: (u, i) => color(`c0${chart.lines[i - 1].color}`), stroke: () => color('card')},
      ...(chart.x === 'seconds' && {sync: {key: 'seconds', setSeries: false, filters: {pub: (type) => type === 'mousemove' || type === 'mouseleave'}}}),
    },
    hooks: {
      drawClear: named ? [drawPhases] : [],
      setCursor: [(u) => legend.tell(u)],
      setScale: [(u, key) => {
        if (key !== 'x') return
        legend.zoomed(u.scales.x.min > whole[0] || u.scales.x.max < whole[1])
        if (chart.x === 'seconds') zoomOthers(u)
      }],
    },
  }, data, plot)
  legend.connect(u, whole)
  followFingers(u)
  new ResizeObserver(() => {
    const {width, height} = size()
    if (width !== u.width || height !== u.height) u.setSize({width, height})
    legend.makeRoom(u)
  }).observe(plot)
  all.push({chart, u})
}

// within returns the part of the x axis to show: all of it if the part is that of the data, or nothing.
function within(whole, xs, min, max) {
  const least = (whole[1] - whole[0]) / 200
  if (xs.length < 2 || !(max > min) || (min === xs[0] && max === xs.at(-1))) return whole
  const middle = (min + max) / 2
  return [Math.max(Math.min(min, middle - least), whole[0]), Math.min(Math.max(max, middle + least), whole[1])]
}

// pointsOf shows all points of a chart of steps, and elsewhere those that no line leads to.
function pointsOf(chart, ys) {
  if (chart.x === 'steps') return {show: true}
  const there = [] // places of points and gaps, without those that only other lines have
  ys.forEach((y, i) => { if (y !== undefined) there.push(i) })
  const alone = there.filter((at, i) => ys[at] !== null && (ys[there[i - 1]] ?? null) === null && (ys[there[i + 1]] ?? null) === null)
  return {show: false, filter: () => alone.length > 0 ? alone : null}
}

// drawPhases shades every other phase, and writes the names for which there is room above the chart.
function drawPhases(u) {
  const {ctx, bbox} = u
  ctx.save()
  ctx.font = font.replace('12px', `${11 * uPlot.pxRatio}px`)
  ctx.textAlign = 'center'
  ctx.textBaseline = 'bottom'
  phases.forEach(({name, from, to}, i) => {
    const left = Math.max(u.valToPos(from, 'x', true), bbox.left)
    const right = Math.min(u.valToPos(to, 'x', true), bbox.left + bbox.width)
    if (!(right > left)) return
    if (i % 2 === 0) {
      ctx.fillStyle = color('band')
      ctx.fillRect(left, bbox.top, right - left, bbox.height)
    }
    if (ctx.measureText(name).width > right - left - 6 * uPlot.pxRatio) return
    ctx.fillStyle = color('ink2')
    ctx.fillText(name, (left + right) / 2, bbox.top - 3 * uPlot.pxRatio)
  })
  ctx.restore()
}

// makeLegend lists the names of a chart's lines. It says what they are where the reader points; a click on a name hides its
// lines or shows them again.
function makeLegend(chart, quantity, text) {
  const element = document.createElement('div')
  element.className = 'legend'
  const named = new Map() // the numbers of the lines of each name
  chart.lines.forEach((line, i) => named.set(line.name, [...named.get(line.name) ?? [], i]))
  const entries = [...named].map(([name, lines]) => {
    const button = element.appendChild(document.createElement('button'))
    button.type = 'button'
    button.setAttribute('aria-pressed', 'true')
    button.appendChild(document.createElement('i')).style.background = `var(--c0${chart.lines[lines[0]].color})`
    button.append(name)
    return {button, lines, value: button.appendChild(document.createElement('b'))}
  })
  const at = element.appendChild(document.createElement('span'))
  at.className = 'at'
  const whole = element.appendChild(document.createElement('button'))
  whole.type = 'button'
  whole.className = 'whole'
  whole.textContent = 'show all'
  whole.hidden = true
  const tell = (where, valuesOf) => {
    at.textContent = where
    for (const {value, lines} of entries) {
      const values = lines.map(valuesOf).filter(shown)
      const [least, most] = [Math.min(...values), Math.max(...values)].map((v) => shown(v) ? quantity.text(v) : '')
      value.textContent = least === most ? least : `${least} – ${most}`
    }
  }
  const tellCursor = (u) => {
    const {idx, idxs, left} = u.cursor
    if (left >= 0 && shown(idx)) tell(text(u.data[0][idx]), (i) => u.data[i + 1][idxs[i + 1]])
    else tell('', () => NaN)
  }
  return {
    element,
    // makeRoom makes the legend as high as it can become, so that nothing moves when it tells values.
    makeRoom: (u) => {
      tell(u.data[0].map(text).reduce((a, b) => b.length > a.length ? b : a, ''), (i) => largest(u.data[i + 1], 0))
      element.style.minHeight = ''
      element.style.minHeight = `${element.offsetHeight}px`
      tellCursor(u)
    },
    zoomed: (part) => { whole.hidden = !part },
    connect: (u, range) => {
      whole.addEventListener('click', () => u.setScale('x', {min: range[0], max: range[1]}))
      for (const {button, lines} of entries) {
        button.addEventListener('click', () => {
          const show = button.getAttribute('aria-pressed') !== 'true'
          button.setAttribute('aria-pressed', show)
          for (const i of lines) u.setSeries(i + 1, {show})
        })
      }
    },
    tell: tellCursor,
  }
}

// zoomOthers shows the same seconds in all charts over time.
function zoomOthers(u) {
  const {min, max} = u.scales.x
  for (const other of all) {
    const x = other.u.scales.x
    if (other.chart.x === 'seconds' && other.u !== u && (x.min !== min || x.max !== max)) other.u.setScale('x', {min, max})
  }
}

// followFingers does for fingers what uPlot does for a mouse: one finger points, two show a part. The page still scrolls
// up and down, see touch-action in page.css.
function followFingers(u) {
  const fingers = new Map() // where they are, in pixels from the left
  let grip // where two fingers took hold, in pixels and in values
  const hold = () => {
    const at = [...fingers.values()].sort((a, b) => a - b)
    grip = at.length === 2 ? {values: at.map((pixel) => u.posToVal(pixel, 'x'))} : undefined
  }
  u.over.addEventListener('pointerdown', (e) => {
    if (e.pointerType === 'mouse') return
    fingers.set(e.pointerId, e.offsetX)
    hold()
  })
  u.over.addEventListener('pointermove', (e) => {
    if (!fingers.has(e.pointerId)) return
    fingers.set(e.pointerId, e.offsetX)
    if (fingers.size === 1) u.setCursor({left: e.offsetX, top: e.offsetY}, true, true)
    if (!grip) return
    const [a, b] = [...fingers.values()].sort((a, b) => a - b)
    const perPixel = (grip.values[1] - grip.values[0]) / Math.max(b - a, 10)
    const min = grip.values[0] - a * perPixel
    u.setScale('x', {min, max: min + u.over.clientWidth * perPixel})
  })
  for (const end of ['pointerup', 'pointercancel']) {
    u.over.addEventListener(end, (e) => {
      if (fingers.delete(e.pointerId)) hold()
    })
  }
}

charts.forEach(draw)
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  for (const {u} of all) u.redraw(false)
})
})()
