// Builds the gateway's demo page, gateway/admin/page, from its sources and this client. What it makes is committed, so
// that Go builds without Node; with --check it fails if that is not, byte for byte, what would be made now.
import { readFile, writeFile, mkdir, readdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const page = fileURLToPath(new URL('../../../gateway/admin/page/', import.meta.url))
const check = process.argv.includes('--check')

const { outputFiles } = await build({
  entryPoints: ['page.ts', 'page.css'], absWorkingDir: page, outdir: 'dist',
  bundle: true, minify: true, format: 'esm', target: 'es2022', charset: 'utf8', legalComments: 'none', write: false,
  tsconfigRaw: {}, // nothing from outside decides what the bytes are
})
const made = new Map(outputFiles.map(({ path, contents }) => [path.slice(path.lastIndexOf('/') + 1), Buffer.from(contents)]))
for (const name of ['index.html', 'bell.svg']) made.set(name, await readFile(page + name))

if (check) {
  const wrong = (await readdir(`${page}dist`)).filter((name) => !made.has(name))
  for (const [name, content] of made) {
    const committed = await readFile(`${page}dist/${name}`).catch(() => undefined)
    if (!committed?.equals(content)) wrong.push(name)
  }
  if (wrong.length) {
    console.error(`gateway/admin/page/dist is not what its sources make: ${wrong.join(', ')}. Run make client, and commit.`)
    process.exit(1)
  }
} else {
  await mkdir(`${page}dist`, { recursive: true })
  for (const [name, content] of made) await writeFile(`${page}dist/${name}`, content)
}
const sizes = [...made].map(([name, content]) => `${name} ${content.length}`)
console.log(`demo page: ${sizes.join(', ')}, together ${[...made.values()].reduce((sum, { length }) => sum + length, 0)} bytes`)
