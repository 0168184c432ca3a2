import assert from 'node:assert/strict'
import { test } from 'node:test'
import { delayAfter, fullJitter } from '../src/backoff.js'

const law = (random: () => number) => ({ reconnectDelay: 1000, maxReconnectDelay: 30_000, random })

test('the bound doubles up to the cap, and the wait is anywhere below it', () => {
  const most = law(() => 1)
  assert.deepEqual([0, 1, 2, 3, 4, 5, 6, 2000].map((attempt) => fullJitter(attempt, most)), [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000])
  assert.equal(fullJitter(3, law(() => 0)), 0)
  assert.equal(fullJitter(3, law(() => 0.25)), 2000)
})

test('those who were cut off together come back spread over the bound', () => {
  const waits = Array.from({ length: 2000 }, () => fullJitter(3, law(Math.random)))
  const tenths = new Set(waits.map((ms) => Math.floor(ms / 800)))
  assert.equal(tenths.size, 10, 'every tenth of the 8 s has somebody')
  assert.ok(waits.every((ms) => ms >= 0 && ms < 8000))
})

test('a hint is obeyed, and a tight loop is not possible', () => {
  const half = law(() => 0.5)
  for (const [name, args, want] of [
    ['never', ['never', '', 0], undefined],
    ['backoff', ['backoff', 'retry=7', 0], 500],
    ['hint', ['hint', 'retry=7000', 0], 7000],
    ['hint of nothing', ['hint', 'retry=0', 0], 0],
    ['hint missing', ['hint', '', 2], 2000],
    ['hint that is none', ['hint', 'retry=soon', 2], 2000],
    ['hint that begins like one', ['hint', 'retry=5s', 2], 2000],
    ['hint below the backoff', ['hint', 'retry=10', 3], 4000],
    ['hint above the backoff', ['hint', 'retry=9000', 3], 9000],
    ['now', ['now', '', 0], 0],
    ['now, again and again', ['now', '', 3], 4000],
  ] as const) assert.equal(delayAfter(args[0], args[1], args[2], half), want, name)
})
