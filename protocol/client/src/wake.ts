/**
 * Calls back with true when the page or its network may have woken up, with false when the network may have gone: each
 * is a reason to look, none is proof. Returns how to stop. Does nothing where there are no such events.
 */
export function onWake(wake: (up: boolean) => void): () => void {
  const heard = ({ type }: Event): void => {
    if (type !== 'visibilitychange' || document.visibilityState === 'visible') wake(type !== 'offline')
  }
  const listening = new AbortController()
  for (const type of ['online', 'offline', 'pageshow', 'visibilitychange']) {
    globalThis.addEventListener?.(type, heard, listening)
  }
  return () => listening.abort()
}
