// The latency of the last notifications as a line; a gap is a mark on it.
import { $ } from './dom.js'

const width = 240
const height = 40
const most = 40 // points

const precise = (ms: number): string => `${ms.toFixed(ms < 10 ? 1 : 0)} ms` // clocks in whole ms tell no more

const points: number[] = [] // ms; NaN is a gap

function draw(): void {
  const times = points.filter((ms) => !Number.isNaN(ms))
  const top = Math.max(5, ...times)
  const x = (i: number): number => width - (points.length - 1 - i) * (width / (most - 1))
  const y = (ms: number): number => height - 3 - (ms / top) * (height - 8)
  const line = points.flatMap((ms, i) => Number.isNaN(ms) ? [] : [`${x(i).toFixed(1)},${y(ms).toFixed(1)}`])
  $('line').setAttribute('points', line.join(' '))
  $('gaps').setAttribute('d', points.map((ms, i) => Number.isNaN(ms) ? `M${x(i).toFixed(1)} 0V${height}` : '').join(''))
  const median = [...times].sort((a, b) => a - b)[times.length >> 1] ?? 0
  const last = times.at(-1)
  $('last').textContent = last === undefined ? '–' : precise(last)
  $('spark').setAttribute('aria-label', `Latency of the last ${times.length} notifications: median ${precise(median)}, at most ${precise(Math.max(0, ...times))}`)
  $('median').textContent = times.length ? `median ${precise(median)} of ${times.length}` : ''
}

function add(ms: number): void {
  points.push(ms)
  if (points.length > most) points.shift()
  draw()
}

export const addLatency = add
export const markGap = (): void => add(NaN)
