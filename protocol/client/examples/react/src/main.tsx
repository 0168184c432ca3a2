import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { NotificationProvider } from '@carillon-ws/client/react'
import { App } from './App'
import { client, userId } from './notifications'
import './style.css'

createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <NotificationProvider client={client}>
      <App userId={userId} />
    </NotificationProvider>
  </StrictMode>,
)
