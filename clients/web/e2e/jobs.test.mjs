// A folder handed in, left, and fetched.

import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { begin, closeBrowser, open, pictures } from './stage.mjs'

after(closeBrowser)

function folder(scene, count) {
  const outer = mkdtempSync(join(tmpdir(), 'dunlin-folder-'))
  const path = join(outer, 'birds')
  mkdirSync(path)
  for (const { name, bytes } of pictures(count)) writeFileSync(join(path, name), bytes)
  writeFileSync(join(path, 'notes.txt'), 'not a picture')
  scene.after(() => rmSync(outer, { recursive: true }))
  return { path }
}

async function saved(page, button) {
  const [file] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('button', { name: button }).click(),
  ])
  return readFileSync(await file.path(), 'utf8')
}

test('a folder is handed in, left, and its results are fetched after coming back', async (scene) => {
  const system = await begin(scene, '--model', 'stub:150ms', '--max-instances', '1')
  const birds = folder(scene, 30)
  const first = await open(`${system.url}/#/jobs`)
  await first.page.getByLabel('Choose a folder').setInputFiles(birds.path)
  await first.page.getByText('1 file is left out').waitFor()
  await first.page.getByRole('button', { name: 'Hand in 30 pictures' }).click()
  await first.page.getByRole('link', { name: /birds/ }).click()
  await first.page.getByRole('heading', { name: 'Latest results' }).waitFor()
  await first.close()

  const { page, close } = await open(`${system.url}/#/jobs`)
  await page.getByRole('link', { name: /birds/ }).click()
  await page.getByText(/30 of 30 answered/).waitFor()
  const csv = (await saved(page, 'Save as CSV')).trim().split('\r\n')
  assert.equal(csv.length, 31)
  assert.match(csv[1], /^birds\/picture-\d+\.jpg,succeeded,/)
  const lines = (await saved(page, 'Save as JSON lines')).trim().split('\n')
  assert.equal(new Set(lines.map((line) => JSON.parse(line).custom_id)).size, 30)
  await close()
})

test('a job is cancelled', async (scene) => {
  const system = await begin(scene, '--model', 'stub:1s', '--max-instances', '1')
  const birds = folder(scene, 20)
  const { page, close } = await open(`${system.url}/#/jobs`)
  await page.getByLabel('Choose a folder').setInputFiles(birds.path)
  await page.getByRole('button', { name: 'Hand in 20 pictures' }).click()
  await page.getByRole('link', { name: /birds/ }).click()
  await page.getByRole('button', { name: 'Cancel the job' }).click()
  await page.getByText('cancelled', { exact: true }).first().waitFor()
  await close()
})
