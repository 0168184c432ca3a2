// Helpers for a page without a framework.

/** Returns the element of index.html with this id. */
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

/** Shows a text in an element that screen readers read out; wrong marks it as an error. */
export function say(element: HTMLElement, text: string, wrong = false): void {
  element.textContent = text
  element.classList.toggle('wrong', wrong)
}

export const clock = (ms: number): string => new Date(ms).toLocaleTimeString()

const painted = new MessageChannel() // one for all calls: a port with a listener is never collected
let waiting: ((now: number) => void)[] = []

painted.port1.onmessage = () => {
  const calls = waiting
  waiting = []
  for (const then of calls) then(performance.now())
}

/** Calls back with performance.now() when the present changes of the page are painted. */
export function afterPaint(then: (now: number) => void): void {
  if (waiting.push(then) === 1) requestAnimationFrame(() => painted.port2.postMessage(0))
}
