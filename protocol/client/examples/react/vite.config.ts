import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

export default defineConfig({
  base: './',
  plugins: [react()],
  // Only because the client is linked from the folder above, which has a React of its own for its tests.
  resolve: { dedupe: ['react', 'react-dom'] },
})
