// The few things that a page without a framework needs.

/** The element of this id, which index.html has. */
export function $<E extends Element = HTMLElement>(id: string): E {
  const element = document.getElementById(id)
  if (!element) throw new Error(`index.html lacks #${id}`)
  return element as unknown as E
}

export const input = (id: string): HTMLInputElement => $<HTMLInputElement>(id)

export function make<K extends keyof HTMLElementTagNameMap>(tag: K, className = '', text = ''): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag)
  element.className = className
  element.textContent = text
  if (text) element.dir = 'auto' // Arabic and Hebrew read from the right
  return element
}

/** Says something where it is read out, as a fault or as news. */
export function say(element: HTMLElement, text: string, wrong = false): void {
  element.textContent = text
  element.classList.toggle('wrong', wrong)
}

export const clock = (ms: number): string => new Date(ms).toLocaleTimeString()

const painted = new MessageChannel() // one for all: a port with a listener is not collected
let waiting: ((now: number) => void)[] = []

painted.port1.onmessage = () => {
  const calls = waiting
  waiting = []
  for (const then of calls) then(performance.now())
}

/** Calls back when what changed just now can be seen, with performance.now(). */
export function afterPaint(then: (now: number) => void): void {
  if (waiting.push(then) === 1) requestAnimationFrame(() => painted.port2.postMessage(0))
}
