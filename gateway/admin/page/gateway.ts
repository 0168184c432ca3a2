// What the page asks of the admin listener.

export interface Info {
  version: string
  url: string
  redis: string
  redisEmbedded: boolean
  redisPauses?: boolean
  loops: number
}

export interface Stats {
  connections: number
  publications: number
  deliveries: number
  redisUp: boolean
}

const patience = 7000 // ms; the listener itself waits 5 s for Redis

/** The admin token, which the page itself was asked for with. */
export const token = new URLSearchParams(location.search).get('token')

/** Asks; what is not a success is an error in words to show, the listener's own if it has any. A body that is no text goes as JSON. */
export async function ask<T>(path: string, body?: string | object): Promise<T> {
  const response = await fetch(path, {
    headers: token ? { Authorization: `Bearer ${token}` } : {},
    ...(body !== undefined && { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body) }),
    signal: AbortSignal.timeout(patience),
  }).catch((error: Error) => {
    throw new Error(error.name === 'TimeoutError' ? `No answer in ${patience / 1000} s.` : 'No answer: is the gateway running?')
  })
  if (!response.ok) throw new Error((await response.text()).trim() || response.statusText)
  return await response.json() as T
}
