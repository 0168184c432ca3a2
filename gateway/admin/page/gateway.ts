// The requests of the page to the admin listener.

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

/** The admin token, from the query of the page itself. */
export const token = new URLSearchParams(location.search).get('token')

/** Sends a request. On failure it throws an error whose message can be shown: the text of the answer, if it has one. A body that is not a string is sent as JSON. */
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
