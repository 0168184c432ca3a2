import { useEffect, useState } from 'react'
import { useConnectionState } from '@carillon-ws/client/react'

/** Says nothing while all is well. */
export function Connection() {
  const { state, retryAt } = useConnectionState()
  const seconds = useSecondsUntil(retryAt)
  const text = { idle: '', connected: '', connecting: 'Connecting …', waiting: `Back in ${seconds} s`, closed: 'Disconnected' }[state]
  return <span className="connection" data-state={state} role="status">{text}</span>
}

function useSecondsUntil(at: number | undefined): number {
  const [now, setNow] = useState(Date.now)
  useEffect(() => {
    if (at === undefined) return
    setNow(Date.now())
    const timer = setInterval(() => setNow(Date.now()), 250)
    return () => clearInterval(timer)
  }, [at])
  return Math.max(0, Math.ceil(((at ?? now) - now) / 1000))
}
