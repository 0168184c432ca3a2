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

/** The admin token, which the page itself was asked for with. */
export const token = new URLSearchParams(location.search).get('token')

/** Asks; what is not a success is an error with the listener's own words. A body that is no text goes as JSON. */
export async function ask<T>(path: string, body?: string | object): Promise<T> {
  const response = await fetch(path, {
    headers: token ? { Authorization: `Bearer ${token}` } : {},
    ...(body !== undefined && { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body) }),
  })
  if (!response.ok) throw new Error((await response.text()).trim() || response.statusText)
  return await response.json() as T
}
