// The one client of the app, made outside of components.
import { NotificationClient } from '@carillon-ws/client'

/** What this app publishes: `{"title":"…","body":"…"}`, and plain text for who types it into redis-cli. */
export interface Note {
  title: string
  body?: string
}

function parse(data: string): Note {
  try {
    const note = JSON.parse(data) as Partial<Note> | null
    if (typeof note?.title === 'string') return { title: note.title, ...(typeof note.body === 'string' && { body: note.body }) }
  } catch { /* plain text */ }
  return { title: data }
}

const query = new URLSearchParams(location.search)

/** Whoever is signed in; in an app that has users, from its session. */
export const userId = query.get('user') ?? '123'

export const client = new NotificationClient(query.get('gateway') ?? 'ws://127.0.0.1:8080/ws', { parse })
