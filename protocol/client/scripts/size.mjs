// What an application pays for each entry: bundled and minified by esbuild, gzip -9. Fails beyond the budget.
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'

const budgets = [
  { entry: 'core', code: `export { NotificationClient, UnauthorizedError } from './dist/index.js'`, most: 3000 },
  { entry: 'react', code: `export * from './dist/react.js'`, most: 1000 },
  { entry: 'tabs', code: `export * from './dist/tabs.js'`, most: 1500 },
]

for (const { entry, code, most } of budgets) {
  const { outputFiles: [bundle] } = await build({
    stdin: { contents: code, resolveDir: '.' }, bundle: true, minify: true, format: 'esm', external: ['react'], write: false,
  })
  const size = gzipSync(bundle.contents, { level: 9 }).length
  console.log(`${entry.padEnd(6)} ${String(size).padStart(5)} bytes gzipped, at most ${most}`)
  if (size > most) process.exitCode = 1
}
