import { Connection } from './Connection'
import { NotificationBell } from './NotificationBell'

export function App({ userId }: { userId: string }) {
  const command = `redis-cli PUBLISH notifications:user:${userId} '{"title":"Ana commented","body":"on your photo of the bell tower"}'`
  return (
    <>
      <header>
        <strong>Belfry</strong>
        <Connection />
        <NotificationBell userId={userId} />
      </header>
      <main>
        <h1>Good morning</h1>
        <p>Everything on this page is ordinary. The bell above is not: it hears what is published in Redis.</p>
        <p>Ring it from a terminal:</p>
        <pre><code>{command}</code></pre>
        <p>Then stop the gateway, and start it again.</p>
      </main>
    </>
  )
}
