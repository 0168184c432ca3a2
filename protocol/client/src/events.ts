export type Handler<E> = (event: E) => void

/** Handlers by name, each name with its own type of event. */
export class Emitter<Events extends object> {
  #handlers = new Map<keyof Events, Set<Handler<never>>>()

  /** The names that have a handler. */
  get names(): Iterable<keyof Events> { return this.#handlers.keys() }

  has(name: keyof Events): boolean { return this.#handlers.has(name) }

  /** Calls the handler on every event of this name, until the function that it returns is called. */
  on<K extends keyof Events>(name: K, handler: Handler<Events[K]>): () => void {
    const handlers = this.#handlers.get(name) ?? new Set()
    this.#handlers.set(name, handlers)
    const own: Handler<Events[K]> = (event) => handler(event) // the same function may be handed in twice
    handlers.add(own)
    return () => {
      if (handlers.delete(own) && !handlers.size) this.#handlers.delete(name)
    }
  }

  /** Takes all handlers of a name away. */
  off(name: keyof Events): void {
    this.#handlers.get(name)?.clear()
    this.#handlers.delete(name)
  }

  /** Calls the handlers. What one throws goes where uncaught errors go, and stops neither the others nor the caller. */
  emit<K extends keyof Events>(name: K, event: Events[K]): void {
    for (const handler of [...this.#handlers.get(name) ?? []]) {
      try {
        (handler as Handler<Events[K]>)(event)
      } catch (error) {
        queueMicrotask(() => { throw error })
      }
    }
  }
}
