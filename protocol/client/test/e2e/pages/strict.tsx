// Three bells under StrictMode, in development, where React mounts everything twice.
import { StrictMode, useEffect } from 'react'
import { createRoot } from 'react-dom/client'
import { NotificationClient } from '../../../src/index.js'
import { NotificationProvider, useConnectionState, useNotifications } from '../../../src/react.js'

const client = new NotificationClient(new URLSearchParams(location.search).get('gateway') ?? '', { reconnectDelay: 200 })
let mounts = 0

function Bell() {
  const { unread, notifications } = useNotifications('user:123')
  const { state } = useConnectionState()
  useEffect(() => { Object.assign(window, { mounts: ++mounts }) }, [])
  return <p className="bell">{state} {unread} {notifications[0]?.data}</p>
}

createRoot(document.getElementById('root')!).render(
  <StrictMode><NotificationProvider client={client}><Bell /><Bell /><Bell /></NotificationProvider></StrictMode>,
)
Object.assign(window, { client })
