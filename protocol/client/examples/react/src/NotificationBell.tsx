import { useEffect, useId, useRef, useState } from 'react'
import { useNotifications } from '@carillon-ws/client/react'
import { client } from './notifications'

/** The bell of the article: a badge with what is unread, and the list behind it. */
export function NotificationBell({ userId }: { userId: string }) {
  const { notifications, unread, gap, markRead, clear } = useNotifications(`user:${userId}`, { client, limit: 30 })
  const [open, setOpen] = useState(false)
  const box = useRef<HTMLDivElement>(null)
  const ring = useRef<HTMLButtonElement>(null)
  const panel = useId()

  useEffect(() => {
    if (!open) return
    const leave = (event: Event) => {
      const escaped = event instanceof KeyboardEvent && event.key === 'Escape'
      const outside = event instanceof PointerEvent && !box.current?.contains(event.target as Node)
      if (escaped) ring.current?.focus() // what had it is hidden now
      if (escaped || outside) setOpen(false)
    }
    document.addEventListener('keydown', leave)
    document.addEventListener('pointerdown', leave)
    return () => {
      document.removeEventListener('keydown', leave)
      document.removeEventListener('pointerdown', leave)
    }
  }, [open])

  const label = unread ? `Notifications, ${unread} unread` : 'Notifications'
  return (
    <div className="bell" ref={box}>
      <button className="ring" ref={ring} aria-label={label} aria-expanded={open} aria-controls={panel} onClick={() => setOpen(!open)}>
        <svg key={notifications[0]?.key} viewBox="0 0 24 24" width="24" height="24" aria-hidden="true">
          <path d="M12 2a1.5 1.5 0 0 1 1.5 1.5v.7A6 6 0 0 1 18 10v4l1.7 2.5a1 1 0 0 1-.8 1.5H5.1a1 1 0 0 1-.8-1.5L6 14v-4a6 6 0 0 1 4.5-5.8v-.7A1.5 1.5 0 0 1 12 2Zm-2.4 17.5h4.8a2.4 2.4 0 0 1-4.8 0Z" />
        </svg>
        {unread > 0 && <b className="badge">{unread > 99 ? '99+' : unread}</b>}
      </button>
      <p className="hidden" role="status">{notifications[0] && !notifications[0].read ? notifications[0].data.title : ''}</p>
      <section id={panel} className="panel" hidden={!open} aria-label="Notifications">
        <div className="bar">
          <h2>Notifications</h2>
          <button onClick={() => markRead()} disabled={!unread}>Mark all read</button>
          <button onClick={clear} disabled={!notifications.length}>Clear</button>
        </div>
        {gap && <p className="gap">You were away for a moment: something may be missing here.</p>}
        {notifications.length === 0 && <p className="none">All quiet.</p>}
        <ol>
          {notifications.map(({ key, data, timestamp, read }) => (
            <li key={key} data-read={read}>
              <button onClick={() => markRead(key)}>
                <span dir="auto">{data.title || '(no text)'}</span>
                {data.body && <small dir="auto">{data.body}</small>}
                <time dateTime={new Date(timestamp).toISOString()}>{new Date(timestamp).toLocaleTimeString()}</time>
              </button>
            </li>
          ))}
        </ol>
      </section>
    </div>
  )
}
