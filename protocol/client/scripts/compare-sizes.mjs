// The sizes in README's comparison: each library bundled and minified by one esbuild, gzip -9. The others are installed
// into a temporary folder, so that none of them is in our lock file. Needs the npm registry, and `npm run build` before.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'

const here = fileURLToPath(new URL('..', import.meta.url))
const peers = {
  centrifuge: ['5.8.0', `export { Centrifuge } from 'centrifuge'`],
  'pusher-js': ['8.6.0', `export { default } from 'pusher-js'`],
  'socket.io-client': ['4.8.4', `export { io } from 'socket.io-client'`],
  partysocket: ['1.3.0', `export { WebSocket } from 'partysocket'`],
  'react-use-websocket': ['4.13.0', `export { default } from 'react-use-websocket'`],
}

async function size(contents, resolveDir) {
  const { outputFiles: [bundle] } = await build({
    stdin: { contents, resolveDir }, bundle: true, minify: true, format: 'esm', platform: 'browser',
    external: ['react', 'react-dom'], write: false, logLevel: 'error',
  })
  return gzipSync(bundle.contents, { level: 9 }).length
}

const folder = mkdtempSync(join(tmpdir(), 'sizes-'))
try {
  writeFileSync(join(folder, 'package.json'), '{"private":true}')
  const wanted = Object.entries(peers).map(([name, [version]]) => `${name}@${version}`)
  execFileSync('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--silent', ...wanted, 'react@19'], { cwd: folder, stdio: 'inherit' })
  const { version } = JSON.parse(readFileSync(join(here, 'package.json'), 'utf8'))
  console.log(`@carillon-ws/client ${version}: ${await size(`export { NotificationClient, UnauthorizedError } from './dist/index.js'`, here)}`)
  console.log(`  with React hooks: ${await size(`export { NotificationClient } from './dist/index.js'; export * from './dist/react.js'`, here)}`)
  console.log(`  with tabs: ${await size(`export { NotificationClient } from './dist/index.js'; export * from './dist/tabs.js'`, here)}`)
  for (const [name, [version, code]] of Object.entries(peers)) console.log(`${name} ${version}: ${await size(code, folder)}`)
} finally {
  rmSync(folder, { recursive: true })
}
